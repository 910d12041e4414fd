"""Uncertainty weighting: each task's weight from its own, learnt noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import Weighting, WeightingOptions, check_names
from ranker.weighting.descent import Descent, DescentConfig

# Shapes: T = all tasks, K = the tasks that take part in one call


class Uncertainty(Weighting):
    """Weights e^-s (binary) or e^-s / 2 (regression), with s = log sigma^2 of each task learnt beside the model.

    Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics",
    CVPR 2018, equations 7 and 10: minimise sum_i w_i(s_i) L_i + s_i / 2. A step uses the present s, then s moves along
    the closed-form gradient -w_i L_i + 1/2.

    Note:
        At rest the weight is 1 / (2 L_i) in either form, so a task of rare positives (loss 0.01) weighs 50: cap it
        with `max_weight` if that is unwanted; s itself is learnt without the cap. s is not clamped. Copies that keep
        s >= 0 freeze every task whose loss is below 1/2, which is every click or conversion loss.

        Weights are absolute: a task keeps its own in a step that no other takes part in.
    """

    absolute: ClassVar[bool] = True

    class Config(WeightingOptions):
        """Options of `Uncertainty`."""

        name: Literal["uncertainty"] = "uncertainty"
        kinds: dict[str, Literal["binary", "regression"]] = Field(
            {}, description="Kind of each task by name: which form its weight has. A task not named is binary."
        )
        max_weight: float | None = Field(None, gt=0, description="No task weighs more; null: no cap.")
        descent: DescentConfig = Field(DescentConfig(), description="How s is learnt.")

        def build(self, task_names: Sequence[str]) -> Uncertainty:
            """The method for these tasks.

            Raises:
                ValueError: A kind is for a task that does not exist.
            """
            return Uncertainty(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        self.descent = Descent(config.descent, len(task_names))
        super().__init__(config, task_names)
        check_names("kinds", config.kinds, self.task_names)
        factors = [0.5 if config.kinds.get(task) == "regression" else 1.0 for task in self.task_names]
        self.factors_T = torch.tensor(factors, dtype=torch.float64)
        self.max_weight = config.max_weight

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `log_variances_T` is s, 0 at first, beside its optimizer's."""
        log_variances_T = torch.zeros(len(self.task_names), dtype=torch.float64)
        return super().initial_state() | {"log_variances_T": log_variances_T} | self.descent.initial_state()

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del gram_KK
        log_variances_T = self.state["log_variances_T"].clone()
        weights_K = self.factors_T[tasks_K] * (-log_variances_T[tasks_K]).exp()
        log_variances_T[tasks_K] += self.descent.change(self.state, tasks_K, 0.5 - weights_K * losses_K)
        self.state["log_variances_T"] = log_variances_T
        return weights_K if self.max_weight is None else weights_K.clamp(max=self.max_weight)
