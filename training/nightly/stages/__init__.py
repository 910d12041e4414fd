"""The stages of a night, in order. Each reads what those before it left in the run's folder and leaves its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from training.nightly.stages.calibrate import calibrate
from training.nightly.stages.check import check
from training.nightly.stages.evaluate import evaluate
from training.nightly.stages.export import export
from training.nightly.stages.gate import gate
from training.nightly.stages.materialize import materialize
from training.nightly.stages.publish import publish
from training.nightly.stages.train import train

Stage = Callable[[Any], dict[str, Any]]  # of a Night

# Every process runs every stage; its summary, JSON values, goes into the run's record.
STAGES: dict[str, Stage] = {
    "check": check,
    "train": train,
    "calibrate": calibrate,
    "evaluate": evaluate,
    "gate": gate,
    "export": export,
    "publish": publish,
    "materialize": materialize,
}

__all__ = [
    # in order
    "STAGES",
    "Stage",
    # one by one
    "check",
    "train",
    "calibrate",
    "evaluate",
    "gate",
    "export",
    "publish",
    "materialize",
]
