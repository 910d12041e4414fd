"""Random Loss Weighting: the free litmus test of every other method."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import Weighting, WeightingOptions

# Shapes: T = all tasks, K = the tasks that take part in one call


class RLW(Weighting):
    """Weights softmax(e) with e drawn from the standard normal distribution anew in every step.

    Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning", TMLR 2022,
    section 3. A method that does not beat it has not been shown to balance anything.

    Note:
        Each draw depends on the seed, the step and the task's name alone: all processes of a run draw alike, a resumed
        run goes on with the same sequence, and the order of tasks does not matter.
    """

    class Config(WeightingOptions):
        """Options of `RLW`."""

        name: Literal["random"] = "random"
        seed: int = Field(0, description="Another seed draws other weights.")

        def build(self, task_names: Sequence[str]) -> RLW:
            """The method for these tasks."""
            return RLW(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.seed = config.seed

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `step`, the steps so far in which any task took part."""
        return super().initial_state() | {"step": torch.zeros((), dtype=torch.int64)}

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K, gram_KK
        step = int(self.state["step"])
        self.state["step"] = self.state["step"] + 1
        draws_K = torch.cat([_draw(f"{self.seed}/{step}/{self.task_names[task]}") for task in tasks_K.tolist()])
        return torch.softmax(draws_K, dim=0)


def _draw(key: str) -> Tensor:
    """One standard normal number, [1], that depends on the key alone."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") % 2**63
    return torch.randn(1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
