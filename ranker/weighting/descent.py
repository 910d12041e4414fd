"""How a method learns numbers of its own, one per task, beside the model."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from ranker.schema import FrozenConfig

# Shapes: T = all tasks, K = the tasks that take part in one call

_MEAN, _SQUARE = 0.9, 0.999  # Adam's two decay rates, as published


class DescentConfig(FrozenConfig):
    """The optimizer of a method's own numbers; the model's, with its weight decay, never touches them."""

    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(0.025, gt=0, allow_inf_nan=False)


class Descent:
    """Gradient descent on T numbers of which a step may move only some: the others, and their moments, stay.

    Adam: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, algorithm 1.

    Note:
        Adam here has no epsilon beside the root of the second moment. It would compare gradients with an absolute
        size, and make weights depend on the scale of the losses; a gradient that has always been 0 moves nothing.
        Each number counts its own steps, so that one that was away for long is not taken for settled.

    Args:
        config: The options.
        num_tasks: Tasks T.
    """

    def __init__(self, config: DescentConfig, num_tasks: int) -> None:
        self.config, self.num_tasks = config, num_tasks

    def initial_state(self) -> dict[str, Tensor]:
        """Adam's moments and steps of each number; nothing for plain descent."""
        if self.config.optimizer == "sgd":
            return {}
        moments = {name: torch.zeros(self.num_tasks, dtype=torch.float64) for name in ("adam_mean_T", "adam_square_T")}
        return {**moments, "adam_steps_T": torch.zeros(self.num_tasks, dtype=torch.int64)}

    def change(self, state: dict[str, Tensor], tasks_K: Tensor, gradient_K: Tensor) -> Tensor:
        """What to add to the numbers of some tasks, [K].

        Args:
            state: Where `initial_state` lies, which advances.
            tasks_K: Whose numbers move.
            gradient_K: Their gradient.
        """
        if self.config.optimizer == "sgd":
            return -self.config.learning_rate * gradient_K
        steps_T, mean_T, square_T = (state[name].clone() for name in ("adam_steps_T", "adam_mean_T", "adam_square_T"))
        steps_T[tasks_K] += 1
        mean_T[tasks_K] = mean_T[tasks_K].lerp(gradient_K, 1 - _MEAN)
        square_T[tasks_K] = square_T[tasks_K].lerp(gradient_K.square(), 1 - _SQUARE)
        state |= {"adam_steps_T": steps_T, "adam_mean_T": mean_T, "adam_square_T": square_T}
        steps_K = steps_T[tasks_K].double()  # a power of an integer tensor would be float32
        mean_K = mean_T[tasks_K] / (1 - _MEAN**steps_K)
        root_K = (square_T[tasks_K] / (1 - _SQUARE**steps_K)).sqrt()
        return -self.config.learning_rate * torch.where(root_K > 0, mean_K / root_K, 0)
