"""GradNorm: weights that bring the tasks' gradients to a common norm, and tasks to a common pace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ranker.weighting.base import by_task, check_names
from ranker.weighting.descent import Descent, DescentConfig
from ranker.weighting.gram import GramConfig
from ranker.weighting.gram_based import GramOptions, GramWeighting

# Shapes: T = all tasks, K = the tasks that take part in one call

Rate = Annotated[float, Field(gt=0, lt=1)]
Loss = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_LEAST = 1e-3  # of a weight, before they are rescaled to sum to the number of tasks


class GradNorm(GramWeighting):
    """Weights learnt so that the norm w_i n_i of each weighted gradient follows the task's pace.

    Chen et al., "GradNorm: Gradient Normalization for Adaptive Loss Balancing in Deep Multitask Networks", ICML 2018,
    equations 1 and 2 and algorithm 1: with n_i the norm of the unweighted gradient of the last shared layer and
    r_i = (L_i / L_i(0)) / mean_j(L_j / L_j(0)), minimise over w

        sum_i |w_i n_i - target_i|,  target_i = mean_j(w_j n_j) * r_i^alpha held constant.

    The gradient of that is sign(w_i n_i - target_i) * n_i, in closed form: no second-order graph. A step uses the
    present w; then w moves, and is rescaled so that its sum stays the number of tasks.

    Note:
        The first loss of a batch is noise. For binary tasks, `base_rates` makes L(0) the entropy of the labels, so that
        L / L(0) is the normalised entropy.

        A task that takes no part keeps its weight and counts in no mean; the others keep the sum that they had.
    """

    weighted_heads: bool = True

    class Config(GramOptions):
        """Options of `GradNorm`."""

        name: Literal["gradnorm"] = "gradnorm"
        # Other scales are of a direction; these are weights of losses.
        scale: Literal["paper"] = Field("paper", description="Weights as published: their sum is the number of tasks.")
        gram: GramConfig = Field(
            GramConfig(scope="last_shared", every=4, decay=0.0),
            description="Of the last shared layer alone, without an average, as published. There w moves in every "
            "step; every fourth costs a third as much and lets w move at a quarter of the pace.",
        )
        alpha: float = Field(
            1.5, ge=0, allow_inf_nan=False, description="How strongly slow tasks are pushed; 0: equal norms."
        )
        initial_losses: dict[str, Loss] = Field(
            {}, description="L(0) by task name, above 0. A task not named here or in base_rates: its first loss."
        )
        base_rates: dict[str, Rate] = Field(
            {}, description="Share of positive labels by task name; L(0) is its entropy in nats."
        )
        descent: DescentConfig = Field(DescentConfig(), description="How w is learnt.")

        @model_validator(mode="after")
        def _check(self) -> GradNorm.Config:
            if both := sorted(self.initial_losses.keys() & self.base_rates.keys()):
                raise ValueError(f"`base_rates` must not name tasks that `initial_losses` names, got {both} in both")
            return self

        def build(self, task_names: Sequence[str]) -> GradNorm:
            """The method for these tasks.

            Raises:
                ValueError: A first loss or base rate is for a task that does not exist.
            """
            return GradNorm(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        self.descent = Descent(config.descent, len(task_names))
        super().__init__(config, task_names)
        check_names("base_rates", config.base_rates, self.task_names)
        check_names("initial_losses", config.initial_losses, self.task_names)
        known = config.initial_losses | _entropies(config.base_rates)
        self.known_T = by_task("initial_losses", known, self.task_names, default=0.0)
        self.alpha = config.alpha

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `weights_T` are 1; `first_losses_T` are 0 until a loss above that is seen."""
        own = {
            "weights_T": torch.ones(len(self.task_names), dtype=torch.float64),
            "first_losses_T": torch.zeros(len(self.task_names), dtype=torch.float64),
        }
        return super().initial_state() | own | self.descent.initial_state()

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        # Weights of whole losses: they hold where the gradients of the shared layers cancel out.
        return self._solve_gram(tasks_K, losses_K, gram_KK)

    def _solve_gram(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        weights_T, first_T = self.state["weights_T"].clone(), self.state["first_losses_T"].clone()
        first_T[tasks_K] = torch.where(first_T[tasks_K] > 0, first_T[tasks_K], losses_K)
        initial_T = torch.where(self.known_T > 0, self.known_T, first_T)
        weights_K = weights_T[tasks_K]
        if len(tasks_K) > 1:  # one task alone has nothing to be balanced against
            ratios_K = _ratios(losses_K, initial_T[tasks_K])
            norms_K = gram_KK.diagonal().sqrt()
            gradient_K = gradnorm_gradient(weights_K, norms_K, ratios_K, self.alpha)
            moved_K = (weights_K + self.descent.change(self.state, tasks_K, gradient_K)).clamp(min=_LEAST)
            weights_T[tasks_K] = moved_K * weights_K.sum() / moved_K.sum()
        self.state |= {"weights_T": weights_T, "first_losses_T": first_T}
        return weights_K


def gradnorm_gradient(weights_K: Tensor, norms_K: Tensor, ratios_K: Tensor, alpha: float) -> Tensor:
    """Gradient [K] of GradNorm's loss with respect to the weights.

    Args:
        weights_K: Weights w.
        norms_K: Norms n of the unweighted gradients.
        ratios_K: What is left of each task's first loss, L / L(0).
        alpha: Power of the relative pace.
    """
    weighted_K = weights_K * norms_K
    targets_K = weighted_K.mean() * (ratios_K / ratios_K.mean()) ** alpha
    return torch.sign(weighted_K - targets_K) * norms_K


def _ratios(losses_K: Tensor, initial_K: Tensor) -> Tensor:
    """L / L(0), and 1 for all where that says nothing, because every loss is 0."""
    ratios_K = torch.where(initial_K > 0, losses_K / initial_K, 1)
    return ratios_K if ratios_K.any() else torch.ones_like(ratios_K)


def _entropies(base_rates: Mapping[str, float]) -> dict[str, float]:
    rates = {task: torch.tensor(rate, dtype=torch.float64) for task, rate in base_rates.items()}
    return {task: float(-torch.special.xlogy(p, p) - (1 - p) * torch.log1p(-p)) for task, p in rates.items()}
