"""FAMO: all tasks improve at one rate, without a gradient per task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import Weighting, WeightingOptions, by_task
from ranker.weighting.descent import Descent, DescentConfig

# Shapes: T = all tasks, K = the tasks that take part in one call

Floor = Annotated[float, Field(allow_inf_nan=False)]

_OFFSET = 1e-8  # added to every gap, in units of their mean


class FAMO(Weighting):
    """Weights (z_i / D_i) / sum_j(z_j / D_j), with D = L - L_min and z = softmax(xi), whose logits xi are learnt.

    Liu, Feng, Stone and Liu, "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023, equations 9 to 11 and
    algorithm 1. After the step the losses of the same batch tell by how much each log D fell; xi moves against
    J_softmax' (log D before - log D after), so that tasks that fell less weigh more. It costs one more forward pass.

    Note:
        The paper adds 1e-8 to every gap; here that is relative to the mean gap, so that the unit of the losses does not
        matter. A task that takes no part keeps its logit and Adam's moments; the others share z among themselves.
    """

    needs_losses_after_step: ClassVar[bool] = True

    class Config(WeightingOptions):
        """Options of `FAMO`."""

        name: Literal["famo"] = "famo"
        min_losses: Floor | dict[str, Floor] = Field(
            0.0, description="Lowest loss L_min that each task can reach, by name or one for all. Not named: 0."
        )
        weight_decay: float = Field(1e-3, ge=0, description="Pull of xi towards 0: towards equal rates by default.")
        descent: DescentConfig = Field(DescentConfig(), description="How xi is learnt.")

        def build(self, task_names: Sequence[str]) -> FAMO:
            """The method for these tasks.

            Raises:
                ValueError: A lowest loss is for a task that does not exist.
            """
            return FAMO(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        self.descent = Descent(config.descent, len(task_names))
        super().__init__(config, task_names)
        self.min_losses_T = by_task("min_losses", config.min_losses, self.task_names, default=0.0)
        self.weight_decay = config.weight_decay

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `logits_T` is xi, all 0.

        Of the last step: `gaps_T`, each task's D, and 0 of tasks that took no part; `offset`, what was added to them.
        """
        num_tasks = len(self.task_names)
        own = {
            "logits_T": torch.zeros(num_tasks, dtype=torch.float64),
            "gaps_T": torch.zeros(num_tasks, dtype=torch.float64),
            "offset": torch.zeros((), dtype=torch.float64),
        }
        return super().initial_state() | own | self.descent.initial_state()

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del gram_KK
        gaps_K = (losses_K - self.min_losses_T[tasks_K]).clamp(min=0)
        # All at their lowest: any gap will do, as long as it is the same.
        offset = _OFFSET * gaps_K.mean() if gaps_K.any() else torch.ones((), dtype=torch.float64)
        gaps_T = torch.zeros(len(self.task_names), dtype=torch.float64)
        gaps_T[tasks_K] = gaps_K + offset
        self.state |= {"gaps_T": gaps_T, "offset": offset}
        return torch.softmax(self.state["logits_T"][tasks_K] - gaps_T[tasks_K].log(), dim=0)

    @torch.no_grad()
    def after_step(self, losses_T: Tensor, active_T: Tensor | None = None) -> None:
        """Move xi by how much each loss fell; tasks whose loss is unknown before or after stay as they are.

        Raises:
            ValueError: A shape does not fit the tasks.
        """
        losses_T = self._on_cpu("losses_T", losses_T, (len(self.task_names),))
        usable_T = self._checked_active(active_T) & losses_T.isfinite() & (self.state["gaps_T"] > 0)
        tasks_K = usable_T.nonzero()[:, 0]
        if len(tasks_K) > 1:  # one task alone has no other to keep pace with
            gaps_K = (losses_T - self.min_losses_T)[tasks_K].clamp(min=0) + self.state["offset"]
            fell_K = self.state["gaps_T"][tasks_K].log() - gaps_K.log()
            logits_T = self.state["logits_T"].clone()
            shares_K = torch.softmax(logits_T[tasks_K], dim=0)
            gradient_K = shares_K * (fell_K - shares_K @ fell_K) + self.weight_decay * logits_T[tasks_K]
            logits_T[tasks_K] += self.descent.change(self.state, tasks_K, gradient_K)
            self.state["logits_T"] = logits_T
        self.state["gaps_T"] = torch.zeros_like(self.state["gaps_T"])
