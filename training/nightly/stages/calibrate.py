"""From the network's outputs to probabilities that can be taken at their word, fitted on the validation rows."""

from __future__ import annotations

from typing import Any

from ranker.calibration import Calibration
from training.nightly.night import Night


def calibrate(night: Night) -> dict[str, Any]:
    """Fit the map of every task and leave them in `calibration.json`."""
    valid = night.predictions("valid")
    calibration = Calibration.fit(night.config.data_schema, valid.raw, *valid.masks(), night.config.calibration)
    night.write("calibration.json", calibration.model_dump(mode="json"))
    return {task: fitted.map.kind for task, fitted in calibration.tasks.items() if fitted.kind == "binary"}
