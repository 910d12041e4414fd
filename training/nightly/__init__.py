"""The nightly job: check the data, train, judge against what is live, publish if it is no worse, report.

Every stage leaves its result in the run's folder before the next begins. A job that was killed goes on where it was,
and ends with the same model; one that is done stays done. `ranker-train nightly` is the same for cron.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.nightly.config import FeatureView, NightlyConfig
    from training.nightly.job import nightly
    from training.nightly.outcome import Outcome
    from training.nightly.paths import Paths
    from training.nightly.record import RunRecord, StageRecord, past_runs

__all__ = [
    # the job
    "nightly",
    "Paths",
    "NightlyConfig",
    "FeatureView",
    # what it leaves
    "Outcome",
    "RunRecord",
    "StageRecord",
    "past_runs",
]

# Some need torch, which takes seconds to import: `ranker-train --help` need not wait for it.
_HOMES = {
    "FeatureView": "training.nightly.config",
    "NightlyConfig": "training.nightly.config",
    "Paths": "training.nightly.paths",
    "nightly": "training.nightly.job",
    "Outcome": "training.nightly.outcome",
    "RunRecord": "training.nightly.record",
    "StageRecord": "training.nightly.record",
    "past_runs": "training.nightly.record",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
