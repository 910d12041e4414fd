"""What every architecture has in common: options, and one module per task."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field
from torch import nn

from ranker.layers import Activation, Tower, Width
from ranker.schema import FrozenConfig


class NetworkConfig(FrozenConfig):
    """Options that every architecture takes."""

    tower_dims: tuple[Width, ...] = Field((64,), description="Hidden widths of each task's tower; empty: linear.")
    activation: Activation = "relu"
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of activations zeroed after every hidden layer.")

    def tower(self, input_dim: int) -> Tower:
        """A new tower on a representation of that width."""
        return Tower(input_dim, self.tower_dims, self.activation, self.dropout)


class PerTask(nn.ModuleDict):
    """One new module per task, in the tasks' order.

    The prefix in the keys lets a task be called `apply` or `type`, which are attributes of every module.

    Args:
        task_names: Names of the tasks.
        build: Makes one task's module.

    Raises:
        ValueError: No task, or two of one name.
    """

    # TorchScript reuses compiled code, and with it the order of iteration, between dicts whose keys are the same in
    # another order: two models in one process would swap their tasks. As a constant the order keeps them apart.
    __constants__ = ("order",)

    def __init__(self, task_names: tuple[str, ...], build: Callable[[], nn.Module]) -> None:
        if not task_names or len(set(task_names)) != len(task_names):
            raise ValueError(f"`task_names` must be unique and at least one, got {task_names}")
        super().__init__({f"task_{name}": build() for name in task_names})
        self.order = task_names


def no_shared_layer(model: str) -> ValueError:
    """What `last_shared_parameters` raises where tasks share nothing but the input.

    Args:
        model: The architecture, for the message.
    """
    return ValueError(
        f"`gram.scope` must not be 'last_shared' with {model}, whose tasks share no layer; "
        "use 'representation' or 'exact', or a model that shares layers"
    )
