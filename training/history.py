"""What the epochs of a run brought, and which was best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

# Shapes: T = tasks

_MAX_POINTS = 512  # of a curve; at least half as many are kept


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
        wait_share: Share of the training time that the steps of this process waited for data, 0 to 1.
    """

    number: int
    losses: dict[str, float]
    weights: dict[str, float]
    selection: float
    valid: dict[str, float]
    rows_per_second: float
    seconds: float
    wait_share: float = 0.0


@dataclass(slots=True)
class Curve:
    """Losses and weights over the steps: some hundred points, however long the run.

    Attributes:
        tasks: What the columns of losses and weights are.
        every: Steps between two points; doubled whenever there are too many of them.
        steps: Steps trained at each point.
        losses: Loss of each task at each point.
        weights: Weight of each task at each point.
    """

    tasks: tuple[str, ...] = ()
    every: int = 1
    steps: list[int] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)
    weights: list[list[float]] = field(default_factory=list)

    def add(self, step: int, losses_T: npt.NDArray[np.float64], weights_T: npt.NDArray[np.float64]) -> None:
        """Take in a step; it becomes a point if its number is a multiple of `every`."""
        if step % self.every:
            return
        self.steps.append(step)
        self.losses.append(losses_T.tolist())
        self.weights.append(weights_T.tolist())
        if len(self.steps) >= _MAX_POINTS:
            self.every *= 2
            kept = [place for place, number in enumerate(self.steps) if number % self.every == 0]
            self.steps = [self.steps[place] for place in kept]
            self.losses = [self.losses[place] for place in kept]
            self.weights = [self.weights[place] for place in kept]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe, one list per task; null for a loss that was not finite."""
        return {
            "every": self.every,
            "steps": self.steps,
            "losses": self._by_task(self.losses),
            "weights": self._by_task(self.weights),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        losses, weights = (
            [
                [np.nan if value is None else value for value in point]
                for point in zip(*content[name].values(), strict=True)
            ]
            for name in ("losses", "weights")
        )
        return cls(tuple(content["losses"]), content["every"], content["steps"], losses, weights)

    def _by_task(self, points: list[list[float]]) -> dict[str, list[float | None]]:
        return {
            task: [point[place] if np.isfinite(point[place]) else None for point in points]
            for place, task in enumerate(self.tasks)
        }


@dataclass(slots=True)
class History:
    """The epochs so far, and which was best (0: none yet)."""

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    curve: Curve = field(default_factory=Curve)

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
        epochs = [asdict(epoch) for epoch in self.epochs]
        return {"best_epoch": self.best, "epochs": epochs, "curve": self.curve.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave."""
        epochs = [Epoch(**epoch) for epoch in content["epochs"]]
        return cls(epochs, content["best_epoch"], Curve.from_dict(content["curve"]))


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
