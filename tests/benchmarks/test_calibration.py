"""The pure parts of the calibration benchmark: thinning leaves test days whole, and the truth has no error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration import RATE, against_truth, thinned
from training.simulation import SimulationConfig

WORLD = SimulationConfig(num_impressions=20_000, num_users=200, num_items=60, valid_days=2, test_days=3)


def test_only_negatives_of_training_and_validation_days_are_dropped(tmp_path: Path) -> None:
    table = thinned(WORLD, tmp_path / "log")
    split, click = table["split"].to_numpy(), table["click"].to_numpy()
    assert (split == "test").sum() == 6_000
    for name, days in (("train", 5), ("valid", 2)):
        positives = (click[split == name] == 1).sum()
        negatives = (click[split == name] == 0).sum()
        assert negatives == pytest.approx(RATE * (days * 2_000 - positives), rel=0.1)


def test_the_truth_has_no_error_and_twice_the_truth_has(tmp_path: Path) -> None:
    table = thinned(WORLD, tmp_path / "log")
    ctr, cvr = table["true_ctr"].to_numpy(), table["true_cvr"].to_numpy()
    for output, true in (("ctr", ctr), ("cvr", cvr), ("ctcvr", ctr * cvr)):
        found = against_truth(output, true, table)
        assert found == {"predicted_over_true": 1.0, "ece": 0.0, "rmse": 0.0}
        doubled = against_truth(output, 2 * true, table)
        assert doubled["predicted_over_true"] == pytest.approx(2)
        rows = table["click"].to_numpy() == 1 if output == "cvr" else np.ones(len(table), bool)
        assert doubled["ece"] == pytest.approx(true[rows].mean(), rel=0.01)
