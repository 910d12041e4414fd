"""MetaBalance: auxiliary gradients brought near the size of the target task's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import check_names
from ranker.weighting.gram import GramConfig
from ranker.weighting.gram_based import GramOptions, GramWeighting

# Shapes: T = all tasks, K = the tasks that take part in one call


class MetaBalance(GramWeighting):
    """Weights r m_0 / m_i + 1 - r, with m the running mean of each task's gradient norm, 0 the target; its own is 1.

    He et al., "MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient Magnitudes of Auxiliary Tasks",
    WWW 2022, equations 4 and 5 (both directions: auxiliary gradients grow as well as shrink).

    Note:
        The paper does so for each tensor; here all shared parameters are one group, so that weights follow from the
        Gram matrix. Running means start at 0 and are corrected for it by each task's own number of steps: while all
        tasks are active that leaves the paper's ratios as they are, and a task that comes late is not taken for small.
        `beta` is per step, whatever `gram.every` is. In a step without the target its last mean counts.
    """

    class Config(GramOptions):
        """Options of `MetaBalance`."""

        name: Literal["metabalance"] = "metabalance"
        target: str = Field(description="The task that the others are there to help.")
        gram: GramConfig = Field(GramConfig(decay=0.0), description="Not averaged: the norms are, by `beta`.")
        relax: float = Field(
            0.7, ge=0, le=1, description="How near auxiliary norms come to the target's; 1: equal, 0: not at all."
        )
        beta: float = Field(0.9, ge=0, lt=1, description="Weight of the past in the running means, per step.")

        def build(self, task_names: Sequence[str]) -> MetaBalance:
            """The method for these tasks.

            Raises:
                ValueError: The target is no task.
            """
            return MetaBalance(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        check_names("target", [config.target], self.task_names)
        self.target, self.relax = self.task_names.index(config.target), config.relax
        self.keep = config.beta**config.gram.every

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `norms_T`, running sums of the norms, and `totals_T`, of their weights."""
        own = {name: torch.zeros(len(self.task_names), dtype=torch.float64) for name in ("norms_T", "totals_T")}
        return super().initial_state() | own

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K
        norms_T, totals_T = self.state["norms_T"].clone(), self.state["totals_T"].clone()
        norms_T[tasks_K] = norms_T[tasks_K].lerp(gram_KK.diagonal().sqrt(), 1 - self.keep)
        totals_T[tasks_K] = totals_T[tasks_K].lerp(torch.ones_like(totals_T[tasks_K]), 1 - self.keep)
        self.state |= {"norms_T": norms_T, "totals_T": totals_T}
        if totals_T[self.target] == 0:  # the target has not been seen yet
            return torch.ones(len(tasks_K), dtype=torch.float64)
        means_T = norms_T / totals_T
        weights_K: Tensor = self.relax * means_T[self.target] / means_T[tasks_K] + 1 - self.relax
        return weights_K
