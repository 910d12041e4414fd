"""PE-LTR: the shortest common update under lower bounds on the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import by_task
from ranker.weighting.gram_based import GramOptions, GramWeighting
from ranker.weighting.min_norm import Array, factor, min_norm

# Shapes: T = all tasks, K = the tasks that take part in one call

Bound = Annotated[float, Field(ge=0, le=1)]

_ROUNDING = 1e-9  # by which bounds like ten times 0.1 may miss 1


class PELTR(GramWeighting):
    """Weights that minimise ||sum_i w_i g_i|| subject to w_i >= c_i and sum w_i = 1.

    Lin et al., "A Pareto-Efficient Algorithm for Multiple Objective Optimization in E-Commerce Recommendation", RecSys
    2019, problem 2. All bounds 0 make it MGDA; bounds that sum to 1 make it static.

    Note:
        The paper relaxes the problem, solves for w - c without the sign constraint and projects the result on the
        simplex (its algorithm 2). From three tasks on, that is not the optimum of the problem it states. `exact`
        solves the problem itself: with s = sum c, w = c + (1 - s) a where a is the min-norm point of the shifted
        gradients sum_j c_j g_j + (1 - s) g_i. `two_step` is the paper's, to reproduce its figures. The paper updates
        the weights after the parameters, one step late; here they are of the step they apply to.

        Tasks that take no part in a step lose their bound for that step; the others keep theirs.
    """

    class Config(GramOptions):
        """Options of `PELTR`."""

        name: Literal["pe_ltr"] = "pe_ltr"
        bounds: Bound | dict[str, Bound] = Field(
            0.0,
            description="Least weight c of each task by name, or one for all; they sum to at most 1. "
            "A task not named has bound 0.",
        )
        mode: Literal["exact", "two_step"] = Field(
            "exact", description="exact: the optimum; two_step: the paper's relaxation and projection."
        )

        def build(self, task_names: Sequence[str]) -> PELTR:
            """The method for these tasks.

            Raises:
                ValueError: A bound is for a task that does not exist, or the bounds sum to more than 1.
            """
            return PELTR(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.bounds_T = by_task("bounds", config.bounds, self.task_names, default=0.0)
        self.mode = config.mode
        if self.bounds_T.sum() > 1 + _ROUNDING:
            raise ValueError(
                f"`bounds` must sum to at most 1 over the tasks, got {config.bounds}, "
                f"which is {self.bounds_T.sum():g} over {len(self.task_names)} tasks; lower them"
            )

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K
        solve = bounded_min_norm if self.mode == "exact" else relax_and_project
        return torch.from_numpy(solve(gram_KK.numpy(), self.bounds_T[tasks_K].numpy()))


def bounded_min_norm(gram_KK: Array, bounds_K: Array) -> Array:
    """The optimum: weights w >= c of sum 1 whose combination is shortest.

    Args:
        gram_KK: Inner products of the gradients.
        bounds_K: Lower bounds c, non-negative, of sum at most 1.

    Returns:
        Weights [K].
    """
    free = max(0.0, 1 - bounds_K.sum())
    factor_KR = factor(gram_KK)
    weights_K: Array = bounds_K + free * min_norm(bounds_K @ factor_KR + free * factor_KR)
    return weights_K


def relax_and_project(gram_KK: Array, bounds_K: Array) -> Array:
    """The paper's two steps: the stationary point without signs, then its projection on the simplex.

    Arguments and result as in `bounded_min_norm`. For two tasks both agree.
    """
    num_tasks, free = len(gram_KK), max(0.0, 1 - bounds_K.sum())
    gram_KK = gram_KK / np.trace(gram_KK)
    system = np.block([[gram_KK, np.ones((num_tasks, 1))], [np.ones((1, num_tasks)), np.zeros((1, 1))]])
    # The pseudo-inverse: identical gradients make the system singular.
    solution = np.linalg.pinv(system, rcond=1e-12, hermitian=True) @ np.append(-gram_KK @ bounds_K, free)
    weights_K: Array = bounds_K + project_on_simplex(solution[:-1], free)
    return weights_K


def project_on_simplex(point_K: Array, total: float) -> Array:
    """The nearest non-negative point of sum `total`.

    Duchi et al., "Efficient Projections onto the l1-Ball for Learning in High Dimensions", ICML 2008, figure 1.
    """
    descending_K = np.sort(point_K)[::-1]
    thresholds_K = (np.cumsum(descending_K) - total) / np.arange(1, len(point_K) + 1)
    above_K = descending_K > thresholds_K
    threshold = thresholds_K[above_K][-1] if above_K.any() else thresholds_K[0]
    projected_K: Array = np.maximum(point_K - threshold, 0)
    return projected_K
