"""Dynamic Task Prioritization: more weight for tasks that are still done badly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import Weighting, WeightingOptions, by_task, check_names

# Shapes: T = all tasks, K = the tasks that take part in one call

Focus = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class DTP(Weighting):
    """Weights -(1 - k)^gamma ln k, with k the average quality of a task on held-out rows.

    Guo et al., "Dynamic Task Prioritization for Multitask Learning", ECCV 2018, equations 2 to 4. Each call of
    `observe` brings a new quality; between two, weights stay. They never depend on the training batch. Before the
    first quality of a task its weight is 1.

    Note:
        Held between `least` and 1 - `least`, k gives no infinite weight to a task that is no better than chance, and
        no task is given up when it is perfect. AUC enters as 2 AUC - 1: at 0.5 nothing has been learnt.

        Weights are absolute unless `sum_k` is set: well-learnt tasks bring all of them, and so the step, near 0.
    """

    absolute: ClassVar[bool] = True

    class Config(WeightingOptions):
        """Options of `DTP`."""

        name: Literal["dtp"] = "dtp"
        focus: Focus | dict[str, Focus] = Field(
            1.0, description="Power gamma by task name, or one for all: the higher, the less easy tasks count. "
            "A task not named has 1."
        )  # fmt: skip
        smoothing: float = Field(0.5, gt=0, le=1, description="Weight of a new quality in the average.")
        least: float = Field(0.01, gt=0, lt=0.5, description="Quality is held between this and 1 minus this.")
        sum_k: bool = Field(False, description="Rescale the weights to sum to the number of tasks in the step.")

        def build(self, task_names: Sequence[str]) -> DTP:
            """The method for these tasks.

            Raises:
                ValueError: A power is for a task that does not exist.
            """
            return DTP(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.focus_T = by_task("focus", config.focus, self.task_names, default=1.0)
        self.smoothing, self.least, self.sum_k = config.smoothing, config.least, config.sum_k

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `kpis_T`, the average qualities, and `seen_T`, which tasks have one."""
        num_tasks = len(self.task_names)
        own = {
            "kpis_T": torch.zeros(num_tasks, dtype=torch.float64),
            "seen_T": torch.zeros(num_tasks, dtype=torch.bool),
        }
        return super().initial_state() | own

    def observe(self, kpis: Mapping[str, float]) -> None:
        """Take new qualities into the averages; tasks without one, or with one that is not finite, stay.

        Raises:
            ValueError: A quality is of a task that does not exist, or above 1.
        """
        check_names("kpis", kpis, self.task_names)
        kpis_T, seen_T = self.state["kpis_T"].clone(), self.state["seen_T"].clone()
        for place, task in enumerate(self.task_names):
            kpi = kpis.get(task, math.nan)
            if not math.isfinite(kpi):
                continue
            if kpi > 1:
                raise ValueError(f"`kpis` must be at most 1, which is perfect, got {kpi} for '{task}'")
            new = max(kpi, self.least)
            kpis_T[place] = kpis_T[place] + self.smoothing * (new - kpis_T[place]) if seen_T[place] else new
            seen_T[place] = True
        self.state |= {"kpis_T": kpis_T, "seen_T": seen_T}

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K, gram_KK
        kpis_T = self.state["kpis_T"].clamp(self.least, 1 - self.least)
        weights_T = torch.where(self.state["seen_T"], -((1 - kpis_T) ** self.focus_T) * kpis_T.log(), 1)
        weights_K = weights_T[tasks_K]
        return weights_K * len(weights_K) / weights_K.sum() if self.sum_k else weights_K
