"""PCGrad: each gradient without what conflicts with the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.gram_based import GramOptions, GramWeighting
from ranker.weighting.min_norm import Array

# Shapes: T = all tasks, K = the tasks that take part in one call


class PCGrad(GramWeighting):
    """Projects every task's gradient, in random order, on the normal plane of each other that it conflicts with.

    Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1: for each i, g = g_i; for each
    other j, if <g, g_j> < 0 then g -= <g, g_j> / ||g_j||^2 g_j. The update is the sum of the results; `scale: mean`
    takes their mean. With coefficients of the original gradients for each g, all of it follows from their Gram matrix.

    Note:
        From three tasks on, the update depends on the order, and conflicts may remain: a projection on one normal
        plane may undo an earlier one. The order comes from the seed, the step and the tasks' names, so that all
        processes agree and the tasks' positions do not matter. Some implementations project g_i on its own plane too.
    """

    class Config(GramOptions):
        """Options of `PCGrad`."""

        name: Literal["pcgrad"] = "pcgrad"
        seed: int = Field(0, ge=0, description="Of the order in which conflicts are resolved.")

        def build(self, task_names: Sequence[str]) -> PCGrad:
            """The method for these tasks."""
            return PCGrad(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.seed = config.seed

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `step`, the steps so far in which any task took part."""
        return super().initial_state() | {"step": torch.zeros((), dtype=torch.int64)}

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K
        orders = visiting_orders(self.seed, int(self.state["step"]), self.task_names, tasks_K.tolist())
        self.state["step"] = self.state["step"] + 1
        return torch.from_numpy(project_conflicts(gram_KK.numpy(), orders).sum(axis=0))


def project_conflicts(gram_KK: Array, orders: Sequence[Sequence[int]]) -> Array:
    """Each task's gradient after all projections, as coefficients of the original gradients.

    Args:
        gram_KK: Inner products of the gradients, all of them non-zero.
        orders: For each task, the others in the order in which they are visited.

    Returns:
        Coefficients [K, K], one row per task; non-negative, and at least 1 on the diagonal.
    """
    norms_K = np.sqrt(np.diag(gram_KK))
    cosines_KK = gram_KK / norms_K[:, None] / norms_K
    rows_KK = np.eye(len(gram_KK))  # of unit gradients: lengths do not matter to what is projected
    for row_K, order in zip(rows_KK, orders, strict=True):
        for other in order:
            row_K[other] -= min(0.0, cosines_KK[other] @ row_K)
    rescaled_KK: Array = rows_KK * norms_K[:, None] / norms_K
    return rescaled_KK


def visiting_orders(seed: int, step: int, task_names: Sequence[str], tasks: Sequence[int]) -> list[list[int]]:
    """For each task that takes part, the others that do in random order.

    An order belongs to the tasks' names: neither their positions nor who is absent changes how two others stand.

    Args:
        seed: Of the run.
        step: Number of the step.
        task_names: All tasks.
        tasks: Positions among them of the K that take part.

    Returns:
        For each of the K, a permutation of the positions 0..K-1 without its own.
    """
    names = sorted(task_names)
    ranks = [names.index(task_names[task]) for task in tasks]
    keys_KK = np.random.default_rng((seed, step)).random((len(names), len(names)))[np.ix_(ranks, ranks)]
    return [[other for other in np.argsort(keys_K).tolist() if other != i] for i, keys_K in enumerate(keys_KK)]
