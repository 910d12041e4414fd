"""The softmax gate that mixes experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ranker.layers.linear import Linear
from ranker.layers.precision import full_precision

# Shapes: B = rows, D = width of the gate's input, E = experts, H = expert output width


class Gate(nn.Module):
    """Row-wise mixture of experts: softmax(W x) weighs the experts' outputs. W has no bias, as in the papers.

    The shares are computed in the precision of W, also where autocast lowers that of the experts.

    Args:
        input_dim: Width D of what the gate reads.
        num_experts: Experts E to choose from, at least 1.
        dropout: Share of experts hidden from each row while training, in [0, 1); the rest share the weight. A row that
            would lose all of them keeps all.

    Example:
        >>> Gate(input_dim=5, num_experts=3)(torch.zeros(7, 5), torch.ones(7, 3, 2)).shape
        torch.Size([7, 2])
    """

    def __init__(self, input_dim: int, num_experts: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = Linear(input_dim, num_experts, bias=False)

    def weights(self, x_BD: Tensor) -> Tensor:
        """Share of each expert per row, [B, E]: non-negative, each row sums to one."""
        logits_BE = self.logits(x_BD)
        if self.training and self.dropout > 0:
            hidden_BE = torch.rand_like(logits_BE) < self.dropout
            hidden_BE = hidden_BE & ~hidden_BE.all(dim=1, keepdim=True)
            logits_BE = logits_BE.masked_fill(hidden_BE, float("-inf"))
        return torch.softmax(logits_BE, dim=-1)

    def logits(self, x_BD: Tensor) -> Tensor:
        """W x, [B, E]."""
        # Public, but not in torch's `__all__`; behind the ignore nothing may stand, or scripting takes it for a type.
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            scripted_BE: Tensor = self.linear(x_BD)
            return scripted_BE
        with torch.autocast(x_BD.device.type, enabled=False):
            logits_BE: Tensor = self.linear(full_precision(x_BD))
            return logits_BE

    def forward(self, x_BD: Tensor, experts_BEH: Tensor) -> Tensor:
        """Mix [B, E, H] by what `x_BD` says, to [B, H]."""
        gate_B1E = self.weights(x_BD).to(experts_BEH.dtype).unsqueeze(1)
        return torch.bmm(gate_B1E, experts_BEH)[:, 0]
