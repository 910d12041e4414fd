"""What the new model is worth by itself, before it is held against the live one."""

from __future__ import annotations

from typing import Any

from training.calibration_report import calibration_report
from training.nightly.night import Night
from training.report import gate_usage


def evaluate(night: Night) -> dict[str, Any]:
    """Every metric of the validation and test rows, how true the probabilities are, which experts the tasks use."""
    calibration, policy = night.calibration, night.config.policy
    valid, test = night.predictions("valid"), night.predictions("test")
    report = test.report(calibration, policy)
    night.write("metrics.json", {"test": report.to_dict(), "valid": valid.report(calibration, policy).to_dict()})
    night.write("calibration_report.json", calibration_report(valid.schema, valid, test, calibration).to_dict())
    batch_size = night.config.training.eval_batch_size
    use = gate_usage(night.trainer.network, night.encoder, night.impressions, batch_size=batch_size)
    night.write("gates.json", use)
    return {name: value for name, value in report.scalars().items() if name.endswith("/auc")}
