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
_STATIONARY = 1e-12  # squared norm of the update, relative to that of the same parts all pointing one way


class GramOptions(WeightingOptions):
    """Options that every method on the Gram matrix takes."""

    gram: GramConfig = GramConfig()
    scale: Literal["paper", "mean", "sum_k", "norm"] = Field(
        "paper",
        description="paper: weights as published; mean: those over the number of active tasks; "
        "sum_k: rescaled to sum to that number; norm: so that the update is as long as the mean gradient.",
    )


class GramWeighting(Weighting):
    """A method whose weights depend on the gradients' inner products: d = sum_k w_k g_k is the shared update.

    Beyond `Weighting`, it leaves out tasks without a gradient (norm at most 1e-12 of the largest), because a zero row
    would draw all weight of a min-norm method and stop training. It rescales as `scale` says.

    Where the parts of the update cancel out, ||d||^2 <= 1e-12 (sum_k |w_k| ||g_k||)^2, no direction helps all tasks:
    the step is Pareto-stationary. All weights are 0 then, so that shared parameters get no rounding noise blown up by
    `scale`, while heads go on training; `state["pareto_stationary_steps"]` counts it. That is an outcome, no error.

    Note:
        The measure compares the update with its own parts, not with the mean squared gradient norm: beside a gradient
        1e7 times as long, a short one is all that a min-norm method follows, and still a direction that helps both.
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
        norms_K = gram_KK.diagonal().sqrt()
        update_square, parts = weights_K @ gram_KK @ weights_K, weights_K.abs() @ norms_K
        if update_square <= _STATIONARY * parts**2:
            self.state["pareto_stationary_steps"] = self.state["pareto_stationary_steps"] + int(parts > 0)
            return torch.zeros_like(weights_K)
        if self.scale == "mean":
            return weights_K / len(weights_K)
        if self.scale == "sum_k":
            return weights_K * len(weights_K) / weights_K.sum()
        if self.scale == "norm":
            return weights_K * norms_K.mean() / update_square.sqrt()
        return weights_K
