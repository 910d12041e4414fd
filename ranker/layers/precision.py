"""Where numbers stay float32 while matrix products around them are bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def full_precision(x: Tensor) -> Tensor:
    """The same numbers, in float32 if they were of lower precision.

    Example:
        >>> full_precision(torch.zeros(2, dtype=torch.bfloat16)).dtype, full_precision(torch.zeros(2).double()).dtype
        (torch.float32, torch.float64)
    """
    return x.float() if x.dtype == torch.bfloat16 or x.dtype == torch.float16 else x


class FullLinear(nn.Linear):
    """`torch.nn.Linear` that computes in the precision of its weights, also where autocast would lower it.

    For what decides more than it costs: the logits of tasks.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     FullLinear(5, 1)(torch.zeros(7, 5)).dtype
        torch.float32
    """

    def forward(self, x_I: Tensor) -> Tensor:
        """Map [..., I] to [..., O]."""
        # Public, but not in torch's `__all__`; behind the ignore nothing may stand, or scripting takes it for a type.
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return F.linear(x_I, self.weight, self.bias)
        with torch.autocast(x_I.device.type, enabled=False):
            return F.linear(full_precision(x_I), self.weight, self.bias)
