"""Which parameters the tasks of a network share."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

# Shapes: B = rows, D = input width


class HasLastShared(Protocol):
    """An architecture that knows the last layer that all its tasks share."""

    def last_shared_parameters(self) -> list[nn.Parameter]:
        """Parameters of that layer, or a `ValueError` where tasks share none."""


def last_shared_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters of the last layer that all tasks of a model share.

    Args:
        model: One of `ModelConfig`; each says itself which layer that is.

    Raises:
        ValueError: Its tasks share no layer.
    """
    return cast(HasLastShared, model).last_shared_parameters()


def reached_by(model: nn.Module, x_BD: Tensor) -> dict[str, tuple[str, ...]]:
    """The tasks whose logit depends on each parameter, found by asking autograd.

    A parameter that two or more tasks reach is shared; one task makes it that task's own; none means it never trains.

    Args:
        model: Maps `x_BD` to a dict of logits by task name.
        x_BD: Any input the model takes; its values do not matter.

    Returns:
        Task names, in the model's order, by parameter name.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    reached: dict[str, list[str]] = {name: [] for name in names}
    with torch.enable_grad():
        for task, logits_B in model(x_BD).items():
            gradients = torch.autograd.grad(logits_B.sum(), parameters, retain_graph=True, allow_unused=True)
            for name, gradient in zip(names, gradients, strict=True):
                if gradient is not None:
                    reached[name].append(task)
    return {name: tuple(tasks) for name, tasks in reached.items()}
