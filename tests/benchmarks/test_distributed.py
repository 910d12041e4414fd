"""The pure parts of the benchmark of two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.distributed import APART, CONFIG, MOVED, ONE, OUTPUTS, SPEED, TWO, markdown
from benchmarks.support.train_job import Job
from training.config import load_config


def _seed(one: float, two: float) -> dict[str, Any]:
    error = {"to_trained_state": 2e-8 * one, "to_golden_rows": 1e-8}
    auc = {name: dict.fromkeys(OUTPUTS, value) for name, value in ((ONE, one), (TWO, two), (MOVED, two + 0.001))}
    return {"seed": 1, "auc": auc, "stopped": "stopped in epoch 1", "best_epoch": 2, "export_error": error}


def test_differences_are_paired_by_seed_and_the_worst_error_is_shown() -> None:
    table = markdown({"quality": [_seed(0.5, 0.51), _seed(0.75, 0.76), _seed(0.6, 0.61)]})
    assert f"| {TWO}, less {ONE} (95 %) | +0.0100 [+0.0100, +0.0100] |" in table
    assert f"| {MOVED}, less {ONE} (95 %) | +0.0110 [+0.0110, +0.0110] |" in table
    assert "3 seeds" in table
    assert f"| {TWO}, less {ONE} (95 %) | +0.0100 | +0.0100 | +0.0100 |" in markdown({"quality": [_seed(0.5, 0.51)]})
    assert "to trained state at most 1.5e-08" in table


def test_growth_is_taken_round_by_round() -> None:
    rates = [(100.0, 180.0, 190.0), (50.0, 80.0, 90.0), (200.0, 380.0, 398.0)]
    rounds = [dict(zip((ONE, TWO, APART), each, strict=True)) for each in rates]
    table = markdown({"throughput": rounds})
    assert f"| {ONE} | 100 |  |" in table
    assert f"| {TWO} | 180 | 1.80 (1.60 to 1.90) |" in table
    assert f"| {APART} | 190 | 1.90 (1.80 to 1.99) |" in table


def test_the_settings_of_the_throughput_are_valid() -> None:
    config = load_config(CONFIG, SPEED)
    assert config.model.name == "mmoe"


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    job = Job(tmp_path / "nowhere", tmp_path / "run", CONFIG, ())
    with pytest.raises(RuntimeError, match="does not exist"):
        job.finish(1)
