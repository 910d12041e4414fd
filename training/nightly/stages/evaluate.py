"""What the new model is worth by itself, before it is held against the live one."""

from __future__ import annotations

from typing import Any

from training.nightly.night import Night


def evaluate(night: Night) -> dict[str, Any]:
    """Every metric of the validation and test rows, into `metrics.json`."""
    calibration, policy = night.calibration, night.config.policy
    valid, test = night.predictions("valid"), night.predictions("test")
    report = test.report(calibration, policy)
    night.write("metrics.json", {"test": report.to_dict(), "valid": valid.report(calibration, policy).to_dict()})
    return {name: value for name, value in report.scalars().items() if name.endswith("/auc")}
