"""Constant weights, and weights that decay geometrically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.weighting.base import Weighting, WeightingOptions, by_task

# Shapes: T = all tasks, K = the tasks that take part in one call

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(gt=0, le=1)]


class Static(Weighting):
    """Weights chosen beforehand: w_i(t) = w_i * gamma_i^t at step t = 0, 1, ...; gamma = 1 keeps them constant.

    The baseline that every other method has to beat. The schedule is that of Tang et al., "Progressive Layered
    Extraction (PLE)", RecSys 2020, section 4.3.

    Note:
        A task keeps its weight in a step in which no other has a label: the weights are absolute, and a batch of one
        scenario must not train at another rate. A single task in all has weight 1.
    """

    absolute: ClassVar[bool] = True

    class Config(WeightingOptions):
        """Options of `Static`."""

        name: Literal["static"] = "static"
        weights: Weight | dict[str, Weight] = Field(
            1.0, description="Weight of each task by name, or one for all. A task not named has weight 1."
        )
        decay: Ratio | dict[str, Ratio] = Field(
            1.0, description="Factor per step, by task name or one for all. A task not named keeps its weight."
        )

        def build(self, task_names: Sequence[str]) -> Static:
            """The method for these tasks.

            Raises:
                ValueError: A weight or factor is for a task that does not exist, or all weights are 0.
            """
            return Static(self, task_names)

    def __init__(self, config: Config, task_names: Sequence[str]) -> None:
        super().__init__(config, task_names)
        self.initial_T = by_task("weights", config.weights, self.task_names, default=1.0)
        self.decay_T = by_task("decay", config.decay, self.task_names, default=1.0)
        if not self.initial_T.any():
            raise ValueError(f"`weights` must give some task a weight above 0, got {config.weights}")

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step: `step`, the steps so far in which any task took part."""
        return super().initial_state() | {"step": torch.zeros((), dtype=torch.int64)}

    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        del losses_K, gram_KK
        weights_T = self.initial_T * self.decay_T ** self.state["step"]
        self.state["step"] = self.state["step"] + 1
        return weights_T[tasks_K]
