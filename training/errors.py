"""What can go wrong in `training`, beside the errors of `ranker`.

TrainingError (RuntimeError)
├── ConfigError      an experiment's YAML cannot be read or contradicts itself
├── CheckpointError  a checkpoint cannot be written, or is incomplete or altered
├── NightlyError     a night cannot go on; names the file and the fix
│   ├── AlreadyRunning  another job holds the registry or the run
│   └── BadData         the data check found errors
├── Interrupted      asked to stop, the run stopped at a safe point; run again, it goes on
└── DivergenceError  losses or gradients stopped being finite
"""

from __future__ import annotations

from collections.abc import Sequence


class TrainingError(RuntimeError):
    """Base of the errors of the offline side."""


class ConfigError(TrainingError):
    """An experiment's YAML cannot be read or contradicts itself."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be written, or is incomplete or altered."""


class NightlyError(TrainingError):
    """A night cannot go on; names the file and the fix."""


class AlreadyRunning(NightlyError):
    """Another job holds the registry or the run."""


class BadData(NightlyError):
    """The data check found errors; they are in the report."""


class Interrupted(TrainingError):
    """Asked to stop, the run stopped at a safe point; run again, it goes on from there."""


class DivergenceError(TrainingError):
    """Losses or gradients stopped being finite.

    Args:
        message: Names the task and the step.
        rows: Rows of the batch at which it happened, as far as known.
    """

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(rows)
