"""Gradients of single tasks: taken one by one, made whole, mixed and handed to parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.distributed import total

# Shapes: T = tasks


def gradients_by_task(
    losses: list[Tensor], inputs: Sequence[Tensor], active_T: Tensor
) -> tuple[dict[int, tuple[Tensor | None, ...]], Tensor]:
    """Gradients of the active tasks whose own are finite, and which those are."""
    by_task: dict[int, tuple[Tensor | None, ...]] = {
        task: torch.autograd.grad(losses[task], inputs, retain_graph=True, allow_unused=True)
        for task in active_T.nonzero()[:, 0].tolist()
    }
    by_task = _finite_ones(by_task)
    return by_task, torch.tensor([task in by_task for task in range(len(losses))])


def with_zeros(
    by_task: dict[int, tuple[Tensor | None, ...]], inputs: Sequence[Tensor], num_tasks: int
) -> list[list[Tensor]]:
    """Gradients of the inputs, one list per task, zero where a task has none."""
    return [
        [or_zero(by_task[task][place] if task in by_task else None, like) for place, like in enumerate(inputs)]
        for task in range(num_tasks)
    ]


def mix(weights_T: Tensor, parts: Sequence[Tensor] | Tensor) -> Tensor:
    """Weighted sum of one tensor per task."""
    return torch.einsum("t,t...->...", weights_T, torch.stack(list(parts)))


def assign(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Set what an optimizer will read."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def or_zero(gradient: Tensor | None, like: Tensor) -> Tensor:
    """The gradient; zero where there is none."""
    return torch.zeros_like(like) if gradient is None else gradient


def _finite_ones(by_task: dict[int, tuple[Tensor | None, ...]]) -> dict[int, tuple[Tensor | None, ...]]:
    """Without the tasks that have a non-finite gradient on any process: a weight of zero would keep their NaN."""
    norms = [
        gradient_norm([gradient for gradient in gradients if gradient is not None]) for gradients in by_task.values()
    ]
    finite = total(torch.stack(norms)).isfinite().tolist()
    return {task: gradients for (task, gradients), kept in zip(by_task.items(), finite, strict=True) if kept}


def gradient_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Norm of all tensors together; not finite where any of their values is not."""
    return torch.nn.utils.get_total_norm(list(tensors))
