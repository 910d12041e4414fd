"""How the Gram matrix of the tasks' gradients is measured, and its running average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.schema import FrozenConfig

# Shapes: T = tasks


class GramConfig(FrozenConfig):
    """How often and over what the inner products of the tasks' gradients are taken."""

    scope: Literal["exact", "representation", "last_shared"] = Field(
        "exact",
        description="exact: over all shared parameters, embedding tables included; "
        "representation: over the embedding output of each row, cheaper, and a bound only; "
        "last_shared: over the last layer that all tasks share, cheapest, and GradNorm's choice.",
    )
    every: int = Field(8, ge=1, description="Steps between two measurements; the weights stay the same between.")
    decay: float = Field(0.9, ge=0, lt=1, description="Weight of the past in the average, per step; 0: no average.")


class GramAverage:
    """Exponential moving average of the Gram matrix, in float64.

    Each refresh keeps `decay ** every` of the past, so that `decay` means the same however rare refreshes are. An
    entry moves only when both of its tasks are active and finite; its first value starts it.

    Args:
        config: The options.
        num_tasks: Tasks T.
    """

    def __init__(self, config: GramConfig, num_tasks: int) -> None:
        self.keep = config.decay**config.every
        self.mean_TT = torch.zeros(num_tasks, num_tasks, dtype=torch.float64)
        self.seen_TT = torch.zeros(num_tasks, num_tasks, dtype=torch.bool)

    def update(self, gram_TT: Tensor, active_T: Tensor) -> Tensor:
        """Take in a new matrix and hand back the average, [T, T], float64 on the CPU.

        Entries of inactive or non-finite tasks come back as they were given: whoever uses the matrix must still see
        that they are not to be used.

        Raises:
            ValueError: The shape is not [T, T].
        """
        if gram_TT.shape != self.mean_TT.shape:
            raise ValueError(f"`gram_TT` must have shape {list(self.mean_TT.shape)}, got {list(gram_TT.shape)}")
        new_TT = gram_TT.detach().to("cpu", torch.float64)
        usable_T = finite_tasks(new_TT, active_T.cpu())
        usable_TT = usable_T[:, None] & usable_T
        averaged_TT = torch.where(self.seen_TT, self.mean_TT.lerp(new_TT, 1 - self.keep), new_TT)
        self.mean_TT = torch.where(usable_TT, averaged_TT, self.mean_TT)
        self.seen_TT = self.seen_TT | usable_TT
        return torch.where(usable_TT, averaged_TT, new_TT)

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: the average and which of its entries have a value."""
        return {"mean_TT": self.mean_TT.clone(), "seen_TT": self.seen_TT.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ValueError: It is of another number of tasks.
        """
        mean_TT, seen_TT = state["mean_TT"], state["seen_TT"]
        if mean_TT.shape != self.mean_TT.shape or seen_TT.shape != self.seen_TT.shape:
            raise ValueError(f"`state` must be of {len(self.mean_TT)} tasks, got {len(mean_TT)}")
        self.mean_TT, self.seen_TT = mean_TT.to("cpu", torch.float64, copy=True), seen_TT.to("cpu", copy=True)


def finite_tasks(gram_TT: Tensor, active_T: Tensor) -> Tensor:
    """Active tasks whose gradient is finite, [T].

    A bad gradient spoils its whole row and column, but only the diagonal tells whose it was.
    """
    finite_T = active_T & gram_TT.diagonal().isfinite()
    overflown_TT = ~gram_TT.isfinite() & finite_T[:, None] & finite_T
    return finite_T & ~overflown_TT.any(dim=1)
