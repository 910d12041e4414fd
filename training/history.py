"""What the epochs of a run brought, and which was best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# Shapes: T = tasks


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch brought.

    Attributes:
        number: From 1.
        losses: Mean training loss of each task.
        weights: Mean weight of each task.
        selection: What the best epoch is chosen by: mean AUC (R2 for regressions) on the validation rows.
        valid: Validation metrics under flat names.
        rows_per_second: Training rows of all processes.
        seconds: Training and validation.
    """

    number: int
    losses: dict[str, float]
    weights: dict[str, float]
    selection: float
    valid: dict[str, float]
    rows_per_second: float
    seconds: float


@dataclass(slots=True)
class History:
    """The epochs so far, and which was best (0: none yet)."""

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0

    def add(self, epoch: Epoch) -> bool:
        """Take in one more epoch; True if none before was as good."""
        self.epochs.append(epoch)
        if self.best == 0 or epoch.selection > self.epochs[self.best - 1].selection:
            self.best = epoch.number
        return self.best == epoch.number

    def stale(self, patience: int) -> bool:
        """Whether the last `patience` epochs brought none that was better."""
        return len(self.epochs) - self.best >= patience

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {"best_epoch": self.best, "epochs": [asdict(epoch) for epoch in self.epochs]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        return cls([Epoch(**epoch) for epoch in content["epochs"]], content["best_epoch"])


class TaskMeans:
    """Running mean per task over the steps in which the task took part.

    Args:
        tasks: Names of the T tasks.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = tuple(tasks)
        self._sum_T, self._count_T = np.zeros(len(tasks)), np.zeros(len(tasks))

    def add(self, values_T: npt.NDArray[np.float64], active_T: npt.NDArray[np.bool_]) -> None:
        """Take in the values of one step; those of tasks that are not active do not count."""
        self._sum_T += np.where(active_T, values_T, 0.0)
        self._count_T += active_T

    def by_task(self) -> dict[str, float]:
        """The means; 0 for a task that never took part."""
        means_T = self._sum_T / np.maximum(self._count_T, 1)
        return dict(zip(self.tasks, means_T.tolist(), strict=True))

    def to_dict(self) -> dict[str, list[float]]:
        """JSON-safe; floats survive the way there and back exactly."""
        return {"sum": self._sum_T.tolist(), "count": self._count_T.tolist()}

    def load(self, content: Mapping[str, list[float]]) -> None:
        """Go on from what `to_dict` gave."""
        self._sum_T, self._count_T = np.array(content["sum"]), np.array(content["count"])
