"""Metrics for Prometheus: what its own parser reads of them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from training.nightly import Outcome, RunRecord
from training.nightly.textfile import write_textfile

DAY = dt.date(2026, 3, 7)
SUMMARIES: dict[str, dict[str, Any]] = {
    "check": {"rows": {"train": 490, "valid": 105}, "warnings": 2},
    "train": {"rows_per_second": 1234.5},
}


def written(record: RunRecord, folder: Path) -> dict[str, float]:
    path = folder / "collected" / "ranker.prom"
    write_textfile(path, record, folder)
    assert [each.name for each in path.parent.iterdir()] == ["ranker.prom"]
    families = text_string_to_metric_families(path.read_text("utf-8"))
    return {
        "".join(
            [
                sample.name.removeprefix("ranker_nightly_"),
                *(f"/{sample.labels[name]}" for name in sorted(sample.labels, reverse=True)),
            ]
        ): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_night_that_ended(tmp_path: Path) -> None:
    record = RunRecord.new(DAY, "0" * 16, 1, None)
    for name, summary in SUMMARIES.items():
        record = record.with_stage(name, 2.5, summary)
    record = record.ended(Outcome.PUBLISHED, "")
    outputs = {
        "ctr": {"auc": 0.75, "log_loss": 0.5, "rmse": None},
        "spend": {"auc": None, "log_loss": None, "rmse": 3.0},
    }
    (tmp_path / "metrics.json").write_text(json.dumps({"test": {"outputs": outputs}}))
    found = written(record, tmp_path)
    assert record.ended_at is not None
    assert found["ended_seconds"] == record.ended_at.timestamp()
    assert found["date_seconds"] == dt.datetime(2026, 3, 7, tzinfo=dt.UTC).timestamp()
    assert {outcome: found[f"outcome/{outcome}"] for outcome in Outcome} == {
        outcome: float(outcome is Outcome.PUBLISHED) for outcome in Outcome
    }
    assert (found["rows/train"], found["rows/valid"], found["data_warnings"]) == (490, 105, 2)
    assert found["rows_per_second"] == 1234.5
    assert (found["stage_seconds/check"], found["stage_seconds/train"]) == (2.5, 2.5)
    assert {key: value for key, value in found.items() if key.startswith("test_quality")} == {
        "test_quality/ctr/auc": 0.75,
        "test_quality/ctr/log_loss": 0.5,
        "test_quality/spend/rmse": 3.0,
    }


def test_a_night_that_failed_at_once(tmp_path: Path) -> None:
    found = written(RunRecord.new(DAY, "0" * 16, 1, None).ended(Outcome.BAD_DATA, "no rows"), tmp_path)
    assert found["outcome/bad_data"] == 1
    assert found["attempts"] == 1
    assert not [key for key in found if key.startswith(("rows", "test_quality", "stage"))]
