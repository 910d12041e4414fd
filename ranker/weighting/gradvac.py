"""GradVac: each gradient turned towards the others until they agree as much as they usually do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.gram_based import GramOptions, GramWeighting
from ranker.weighting.min_norm import Array
from ranker.weighting.pcgrad import visiting_orders

# Shapes: T = all tasks, K = the tasks that take part in one call

_VANISHED = 1e-12  # squared norm, relative to that of the parts, below which rounding is all that is left of a gradient


class GradVac(GramWeighting):
    """Gradient surgery towards the usual cosine of each pair of tasks, an average over the steps so far.

    Wang et al., "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual
    Models", ICLR 2021, algorithm 1. For each i, g = g_i; for each other j in random order, with phi = cos(g, g_j):
    where phi is below the pair's target, g moves along g_j until the cosine is the target; then the target's average
    takes in phi. The update is the sum of the results. With targets held at 0 (`beta: 0`) it is PCGrad.

    `state["targets"]` [T, T] holds the averages. They are not symmetric: the row's gradient is the current one, the
    column's the original.

    Note:
        A target near 1 asks for huge steps, 61 times the gradient at 0.9999 and a cosine of 0.5: `max_target` caps it.
        The published algorithm has no cap. A pair whose gradient has vanished, as that of two opposing tasks does, has
        no cosine and is passed over. Tasks that take no part keep their targets.
    """

    class Config(GramOptions):
        """Options of `GradVac`."""

        name: Literal["gradvac"] = "gradvac"
        seed: int = Field(0, ge=0, description="Of the order in which pairs are visited.")
        beta: float = Field(
            0.01, ge=0, le=1, description="Weight of a new cosine in a pair's average; 0: targets stay 0."
        )
        max_target: float = Field(0.95, ge=0, lt=1, description="Largest cosine that gradients are turned to.")

        def build(self, task_names: Sequence[str]) -> GradVac:
            """The method for these tasks."""
            return GradVac(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.seed, self.beta, self.max_target = config.seed, config.beta, config.max_target

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `step` with any task taking part, and `targets` [T, T]."""
        num_tasks = len(self.task_names)
        return super().initial_state() | {
            "step": torch.zeros((), dtype=torch.int64),
            "targets": torch.zeros(num_tasks, num_tasks, dtype=torch.float64),
        }

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K
        orders = visiting_orders(self.seed, int(self.state["step"]), self.task_names, tasks_K.tolist())
        pairs = (tasks_K[:, None], tasks_K)
        rows_KK, targets_KK = vaccinate(
            gram_KK.numpy(), self.state["targets"][pairs].numpy(), orders, self.beta, self.max_target
        )
        self.state["step"] = self.state["step"] + 1
        self.state["targets"] = self.state["targets"].index_put(pairs, torch.from_numpy(targets_KK))
        return torch.from_numpy(rows_KK.sum(axis=0))


def vaccinate(
    gram_KK: Array, targets_KK: Array, orders: Sequence[Sequence[int]], beta: float, max_target: float
) -> tuple[Array, Array]:
    """Each task's gradient after all turns, and the averages after this step.

    Args:
        gram_KK: Inner products of the gradients, all of them non-zero.
        targets_KK: Averages of the cosines so far.
        orders: For each task, the others in the order in which they are visited.
        beta: Weight of a new cosine in an average.
        max_target: Largest cosine that gradients are turned to.

    Returns:
        Coefficients of the original gradients [K, K], one row per task, non-negative; new averages [K, K].
    """
    norms_K = np.sqrt(np.diag(gram_KK))
    cosines_KK = gram_KK / norms_K[:, None] / norms_K
    rows_KK, targets_KK = np.eye(len(gram_KK)), targets_KK.copy()  # rows are of unit gradients
    for i, order in enumerate(orders):
        row_K = rows_KK[i]
        for j in order:
            square = row_K @ cosines_KK @ row_K
            if square <= _VANISHED * row_K.sum() ** 2:
                break
            cosine = float(np.clip(cosines_KK[j] @ row_K / math.sqrt(square), -1, 1))
            row_K[j] += math.sqrt(square) * _turn(cosine, min(targets_KK[i, j], max_target))
            targets_KK[i, j] += beta * (cosine - targets_KK[i, j])
    return rows_KK * norms_K[:, None] / norms_K, targets_KK


def _turn(cosine: float, target: float) -> float:
    """How much of the unit vector g_j to add to a unit vector at `cosine` with it so that they are at `target`."""
    if cosine >= target:
        return 0.0
    return target * math.sqrt(1 - cosine**2) / math.sqrt(1 - target**2) - cosine
