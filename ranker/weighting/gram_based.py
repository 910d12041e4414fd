"""What the methods that work on the Gram matrix have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import Weighting, WeightingOptions
from ranker.weighting.gram import GramConfig, finite_tasks

# Shapes: T = all tasks, K = the tasks that take part in one call

# Both relative to the gradients' own size, so that scaling all gradients changes nothing.
_NO_GRADIENT = 1e-12  # norm, relative to the largest, below which a task is left out
_STATIONARY = 1e-12  # squared norm of the update, relative to the mean squared gradient norm


class GramOptions(WeightingOptions):
    """Options that every method on the Gram matrix takes."""

    gram: GramConfig = GramConfig()
    scale: Literal["paper", "sum_k", "norm"] = Field(
        "paper",
        description="paper: weights as published; sum_k: rescaled to sum to the number of active tasks; "
        "norm: so that the update is as long as the mean gradient.",
    )


class GramWeighting(Weighting):
    """A method whose weights depend on the gradients' inner products: d = sum_k w_k g_k is the shared update.

    Beyond `Weighting`, it leaves out tasks without a gradient (norm at most 1e-12 of the largest), because a zero row
    would draw all weight of a min-norm method and stop training. It rescales as `scale` says.

    `state["pareto_stationary_steps"]` counts calls whose update vanished (||d||^2 at most 1e-12 of the mean squared
    norm): no direction helps all tasks. That is an outcome, not an error.
    """

    needs_gram: ClassVar[bool] = True
    weighted_heads: bool = False

    def __init__(self, config: GramOptions, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.scale = config.scale

    @abstractmethod
    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        """Weights [K] as the paper has them; arguments as in `Weighting._solve`. Every gradient is non-zero."""

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step."""
        return super().initial_state() | {"pareto_stationary_steps": torch.zeros((), dtype=torch.int64)}

    def _finite(self, losses_T: Tensor, gram_TT: Tensor, active_T: Tensor) -> Tensor:
        return losses_T.isfinite() & finite_tasks(gram_TT, active_T)

    def _taking_part(self, usable_T: Tensor, gram_TT: Tensor) -> Tensor:
        norms_T = torch.where(usable_T, gram_TT.diagonal(), 0).clamp(min=0).sqrt()
        return norms_T > _NO_GRADIENT * norms_T.max()

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        weights_K = self._solve_gram(tasks_K, losses_K, gram_KK)
        squares_K = gram_KK.diagonal()
        update_square = weights_K @ gram_KK @ weights_K
        stationary = bool(update_square <= _STATIONARY * squares_K.mean())
        self.state["pareto_stationary_steps"] = self.state["pareto_stationary_steps"] + int(stationary)
        if self.scale == "sum_k":
            return weights_K * len(weights_K) / weights_K.sum()
        if self.scale == "norm" and not stationary:
            return weights_K * squares_K.sqrt().mean() / update_square.sqrt()
        return weights_K
