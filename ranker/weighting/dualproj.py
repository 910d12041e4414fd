"""DualProj: the mean gradient without its conflicts."""

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


class DualProj(GramWeighting):
    """The preferred mean of the gradients, projected on the dual cone {u : <u, g_j> >= 0 for all j}.

    Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, equation 11, with all tasks'
    gradients in both places. Of all updates that make no task worse to first order, it is the nearest to the mean.

    Note:
        Preferences count relative to one another: they are rescaled to sum to 1 over the tasks that take part.
    """

    class Config(GramOptions):
        """Options of `DualProj`."""

        name: Literal["dualproj"] = "dualproj"
        preference: Preference | dict[str, Preference] = Field(
            1.0, description="Relative importance of each task by name, or one for all. A task not named has 1."
        )

        def build(self, task_names: Sequence[str]) -> DualProj:
            """The method for these tasks.

            Raises:
                ValueError: A preference is for a task that does not exist.
            """
            return DualProj(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.preference_T = by_task("preference", config.preference, self.task_names, default=1.0)

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K
        preference_K = self.preference_T[tasks_K].numpy()
        return torch.from_numpy(project_mean(gram_KK.numpy(), preference_K / preference_K.sum()))


def project_mean(gram_KK: Array, preference_K: Array) -> Array:
    """Weights of the projection of a combination of the gradients on the dual cone of all.

    Args:
        gram_KK: Inner products of the gradients.
        preference_K: The combination; non-negative.

    Returns:
        Weights [K], at least the preference.
    """
    factor_KR = factor(gram_KK)
    weights_K: Array = preference_K + project_on_dual_cone(factor_KR, preference_K @ factor_KR)
    return weights_K
