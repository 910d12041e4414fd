"""Which parameters the tasks of a network share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Shapes: B = rows, D = input width


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
