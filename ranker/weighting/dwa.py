"""Dynamic Weight Average: more weight for tasks whose loss falls slowly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import Weighting, WeightingOptions

# Shapes: T = all tasks, K = the tasks that take part in one call

_NOTHING = 1e-12  # a window's loss, relative to the next one's, below which their ratio says nothing


class DWA(Weighting):
    """Weights T softmax(r / temperature), with r_i the ratio of a task's mean losses in the last two windows of steps.

    Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, equation 7. They sum to the
    number of tasks. Until two windows are complete all are 1.

    Note:
        A window is `window` steps, and its mean is over the steps in which the task took part. Ratios of single steps,
        which some code takes, are noise. A task without a mean in either window, or whose earlier mean is as good as
        0, counts with r = 1.

        It is a gentle method: with temperature 2, ratios between 0.5 and 1.5 move the weights by less than a factor
        of 1.65. It takes losses of comparable size for granted.
    """

    class Config(WeightingOptions):
        """Options of `DWA`."""

        name: Literal["dwa"] = "dwa"
        window: int = Field(100, ge=1, description="Steps over which losses are averaged before they are compared.")
        temperature: float = Field(2.0, gt=0, allow_inf_nan=False, description="The higher, the more equal.")

        def build(self, task_names: Sequence[str]) -> DWA:
            """The method for these tasks."""
            return DWA(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.window, self.temperature = config.window, config.temperature

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step.

        `weights_T` are 1. Of the present window: `step`, `sums_T` of the losses, `counts_T` of the steps with one. Of
        the last complete one: `means_T`, and `seen_T`, whether the task has one.
        """
        num_tasks = len(self.task_names)
        own = {
            "weights_T": torch.ones(num_tasks, dtype=torch.float64),
            "step": torch.zeros((), dtype=torch.int64),
            "sums_T": torch.zeros(num_tasks, dtype=torch.float64),
            "counts_T": torch.zeros(num_tasks, dtype=torch.int64),
            "means_T": torch.zeros(num_tasks, dtype=torch.float64),
            "seen_T": torch.zeros(num_tasks, dtype=torch.bool),
        }
        return super().initial_state() | own

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del gram_KK
        if int(self.state["step"]) == self.window:
            self._close_window()
        self.state["step"] = self.state["step"] + 1
        self.state["sums_T"] = self.state["sums_T"].index_add(0, tasks_K, losses_K)
        self.state["counts_T"] = self.state["counts_T"].index_add(0, tasks_K, torch.ones_like(tasks_K))
        return self.state["weights_T"][tasks_K]

    def _close_window(self) -> None:
        """Weights from the two windows now complete; a new window begins."""
        seen_T = self.state["counts_T"] > 0
        means_T = self.state["sums_T"] / self.state["counts_T"].clamp(min=1)
        before_T, both_T = self.state["means_T"], seen_T & self.state["seen_T"]
        telling_T = both_T & (before_T > _NOTHING * means_T)
        ratios_T = torch.where(telling_T, means_T / before_T, 1)
        self.state |= {name: torch.zeros_like(self.state[name]) for name in ("step", "sums_T", "counts_T")}
        self.state |= {"means_T": means_T, "seen_T": seen_T}
        self.state["weights_T"] = len(ratios_T) * torch.softmax(ratios_T / self.temperature, dim=0)
