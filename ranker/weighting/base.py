"""The contract of every balancing method, and the edge cases that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ranker.schema import FrozenConfig

# Shapes: T = all tasks, K = the tasks that take part in one call


class WeightingOptions(FrozenConfig):
    """Options that every method takes."""

    weighted_heads: bool | None = Field(
        None, description="Whether task-specific parameters train on the weighted loss; null: as suits the method."
    )


class Weighting(ABC):
    """From the losses of T tasks, or the Gram matrix of their gradients, to T weights.

    This class settles once, for every method, what happens to tasks that cannot take part in a step: without a
    labelled row or with a non-finite loss or gradient. Such a task gets weight 0 and its state stays as it is; no task
    left means all weights 0 and no change of state. A method sees only the K tasks left, and adds `_solve` and, if it
    has a memory, `initial_state`.

    Args:
        config: The options.
        task_names: Names of the tasks, in the order of every `_T` argument.

    Attributes:
        needs_gram: Whether `weights` needs `gram_TT`.
        absolute: Whether weights mean something on their own, so that a task keeps its weight in a step that no other
            task takes part in. Otherwise it gets 1.
        weighted_heads: Whether task-specific parameters train on the weighted loss. Methods that may give a task
            weight 0 for long train them on the task's own, unweighted loss: heads would stop learning.
        needs_losses_after_step: Whether `after_step` wants the losses of the same batch after the step, which costs
            one more forward pass.
        sample_rows: Training rows that `observe_data` wants to see before the first step; 0: none.
        state: All that later calls depend on, by name.
    """

    needs_gram: ClassVar[bool] = False
    absolute: ClassVar[bool] = False
    needs_losses_after_step: ClassVar[bool] = False
    weighted_heads: bool = True
    sample_rows: int = 0

    def __init__(self, config: WeightingOptions, task_names: Sequence[str]) -> None:
        if not task_names or len(set(task_names)) != len(task_names):
            raise ValueError(f"`task_names` must be unique and at least one, got {tuple(task_names)}")
        self.task_names = tuple(task_names)
        if config.weighted_heads is not None:
            self.weighted_heads = config.weighted_heads
        self.state = self.initial_state()

    @torch.no_grad()
    def weights(self, losses_T: Tensor, gram_TT: Tensor | None = None, active_T: Tensor | None = None) -> Tensor:
        """Weights of this step.

        Args:
            losses_T: Mean loss of each task over its labelled rows; any device.
            gram_TT: Inner products of the tasks' gradients of the shared parameters; null unless `needs_gram`.
            active_T: False for tasks without a labelled row, whose losses and products are ignored; null: all True.

        Returns:
            Weights [T], float64 on the CPU; 0 for tasks that take no part. They depend on nothing but the arguments
            and `state`, which this call may advance.

        Raises:
            ValueError: A shape does not fit the tasks, or `gram_TT` is missing.
        """
        losses_T = self._on_cpu("losses_T", losses_T, (len(self.task_names),))
        gram_TT = self._checked_gram(gram_TT)
        active_T = self._checked_active(active_T)
        finite_T = self._finite(losses_T, gram_TT, active_T)
        # Consecutive ones: an inactive task's count waits.
        count_T = self.state["nonfinite_steps"]
        self.state["nonfinite_steps"] = torch.where(active_T, torch.where(finite_T, 0, count_T + 1), count_T)

        weights_T = torch.zeros(len(self.task_names), dtype=torch.float64)
        tasks_K = self._taking_part(active_T & finite_T, gram_TT).nonzero()[:, 0]
        if len(tasks_K) > 0:
            gram_KK = gram_TT[tasks_K][:, tasks_K] if self.needs_gram else gram_TT
            weights_K = self._solve(tasks_K, losses_T[tasks_K], (gram_KK + gram_KK.T) / 2)
            if len(self.task_names) == 1 or (len(tasks_K) == 1 and not self.absolute):
                weights_K = torch.ones_like(weights_K)
            weights_T[tasks_K] = weights_K
        return weights_T

    def observe_data(self, x_ND: Tensor, labels_NT: Tensor, mask_NT: Tensor) -> None:
        """Take in a sample of training rows, once, before the first step. Does nothing unless a method needs it.

        Args:
            x_ND: Representation of N rows, the same for all tasks.
            labels_NT: Their labels.
            mask_NT: True where the row counts for the task; labels elsewhere are ignored.
        """
        del x_ND, labels_NT, mask_NT

    def observe(self, kpis: Mapping[str, float]) -> None:
        """Take in how good tasks are on held-out rows, after each validation. Does nothing unless a method needs it.

        Args:
            kpis: Quality by task name: at most 1, which is perfect; 0 or less is no better than chance
                (2 AUC - 1, or R2 for a regression). Tasks without a value are left out.
        """
        del kpis

    def after_step(self, losses_T: Tensor, active_T: Tensor | None = None) -> None:
        """Take in the losses of the batch of the last `weights`, after the parameters have moved.

        Called if `needs_losses_after_step`, and only if they have moved. Does nothing unless a method needs it.

        Args:
            losses_T: Mean loss of each task on the same rows.
            active_T: As in `weights`.
        """
        del losses_T, active_T

    @abstractmethod
    def _solve(self, tasks_K: Tensor, losses_K: Tensor, gram_KK: Tensor) -> Tensor:
        """Weights [K] of the tasks that take part.

        Args:
            tasks_K: Their positions among all tasks; at least one.
            losses_K: Their losses, finite, float64.
            gram_KK: Their Gram matrix, finite, symmetric, float64; [0, 0] unless `needs_gram`.
        """

    def initial_state(self) -> dict[str, Tensor]:
        """State before the first step; methods with a memory add theirs.

        `nonfinite_steps` [T] counts how many steps in a row a task's loss or gradient was not finite.
        """
        return {"nonfinite_steps": torch.zeros(len(self.task_names), dtype=torch.int64)}

    def reset(self) -> None:
        """Forget every step so far."""
        self.state = self.initial_state()

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: tensors by name, and the tasks' names."""
        return {"task_names": list(self.task_names)} | {name: value.clone() for name, value in self.state.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ValueError: It is that of other tasks or of another method.
        """
        if tuple(state.get("task_names", ())) != self.task_names:
            raise ValueError(f"`state` must be that of tasks {self.task_names}, got {state.get('task_names')}")
        if wrong := sorted((set(state) - {"task_names"}) ^ set(self.state)):
            raise ValueError(f"`state` must hold {sorted(self.state)}, got missing or unknown {wrong}")
        for name, value in self.state.items():
            if state[name].shape != value.shape:
                raise ValueError(f"`state` '{name}' must have shape {list(value.shape)}, got {list(state[name].shape)}")
        self.state = {name: state[name].to("cpu", value.dtype, copy=True) for name, value in self.state.items()}

    def _finite(self, losses_T: Tensor, gram_TT: Tensor, active_T: Tensor) -> Tensor:
        """True for tasks whose loss (and gradient, where used) is finite."""
        del gram_TT, active_T
        return losses_T.isfinite()

    def _taking_part(self, usable_T: Tensor, gram_TT: Tensor) -> Tensor:
        """True for tasks that take part, out of the active and finite ones."""
        del gram_TT
        return usable_T

    def _on_cpu(self, name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        if tuple(value.shape) != shape:
            raise ValueError(f"`{name}` must have shape {list(shape)} for {self.task_names}, got {list(value.shape)}")
        return value.detach().to("cpu", torch.float64)

    def _checked_gram(self, gram_TT: Tensor | None) -> Tensor:
        if not self.needs_gram:
            return torch.empty(0, 0, dtype=torch.float64)
        if gram_TT is None:
            raise ValueError(f"`gram_TT` must be given for {type(self).__name__}, got None")
        return self._on_cpu("gram_TT", gram_TT, (len(self.task_names), len(self.task_names)))

    def _checked_active(self, active_T: Tensor | None) -> Tensor:
        if active_T is None:
            return torch.ones(len(self.task_names), dtype=torch.bool)
        return self._on_cpu("active_T", active_T, (len(self.task_names),)) > 0


def by_task(name: str, values: float | Mapping[str, float], task_names: Sequence[str], default: float) -> Tensor:
    """One value per task, float64 [T], from one number for all or from numbers by task name.

    Args:
        name: What the values are, for the message.
        values: One number, or numbers by task name.
        task_names: The tasks, in order.
        default: Value of tasks that `values` does not name.

    Raises:
        ValueError: `values` names a task that does not exist.
    """
    if not isinstance(values, Mapping):
        return torch.full((len(task_names),), float(values), dtype=torch.float64)
    check_names(name, values, task_names)
    return torch.tensor([values.get(task, default) for task in task_names], dtype=torch.float64)


def check_names(name: str, named: Iterable[str], task_names: Sequence[str]) -> None:
    """Refuse names of tasks that do not exist.

    Args:
        name: What names them, for the message.
        named: The names.
        task_names: The tasks.

    Raises:
        ValueError: One is of no task.
    """
    if unknown := sorted(set(named) - set(task_names)):
        raise ValueError(f"`{name}` must name tasks among {tuple(task_names)}, got {unknown}")
