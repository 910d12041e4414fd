"""UPGrad: every task's gradient without its conflicts with any other, combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import by_task
from ranker.weighting.gram_based import GramOptions, GramWeighting
from ranker.weighting.min_norm import Array, factor, project_on_dual_cone

# Shapes: T = all tasks, K = the tasks that take part in one call

Preference = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class UPGrad(GramWeighting):
    """Sum over tasks of p_i g_i, each projected on the dual cone {u : <u, g_j> >= 0 for all j}; p is the preference.

    Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization", 2024, equation 4. No task gets worse to first
    order, the order of tasks does not matter, and a task's share grows with its gradient.

    Note:
        Preferences count relative to one another: they are rescaled to sum to 1 over the tasks that take part.
    """

    class Config(GramOptions):
        """Options of `UPGrad`."""

        name: Literal["upgrad"] = "upgrad"
        preference: Preference | dict[str, Preference] = Field(
            1.0, description="Relative importance of each task by name, or one for all. A task not named has 1."
        )

        def build(self, task_names: Sequence[str]) -> UPGrad:
            """The method for these tasks.

            Raises:
                ValueError: A preference is for a task that does not exist.
            """
            return UPGrad(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.preference_T = by_task("preference", config.preference, self.task_names, default=1.0)

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K
        preference_K = self.preference_T[tasks_K].numpy()
        return torch.from_numpy(combine_projections(gram_KK.numpy(), preference_K / preference_K.sum()))


def combine_projections(gram_KK: Array, preference_K: Array) -> Array:
    """Weights of the sum of each gradient's projection on the dual cone of all.

    Args:
        gram_KK: Inner products of the gradients.
        preference_K: What each projection is multiplied by; non-negative.

    Returns:
        Weights [K], at least the preference.
    """
    factor_KR = factor(gram_KK)
    weights_K = preference_K.copy()
    for share, gradient_R in zip(preference_K, factor_KR, strict=True):
        weights_K += share * project_on_dual_cone(factor_KR, gradient_R)
    return weights_K
