"""What a night was like as Prometheus metrics, for node_exporter's textfile collector."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from training.nightly.outcome import Outcome
from training.nightly.record import RunRecord


def write_textfile(path: Path, record: RunRecord, folder: Path) -> None:
    """Replace the metrics file by those of a night that ended.

    Args:
        path: The `.prom` file; the collector sees the old or the new one, never half of it.
        record: Of the night.
        folder: Its run's folder.
    """
    registry = CollectorRegistry()
    _gauge(registry, "date_seconds", "Last day of the data, as midnight UTC.", _midnight(record))
    if record.ended_at is not None:
        _gauge(registry, "ended_seconds", "When the night ended.", record.ended_at.timestamp())
    _gauge(registry, "attempts", "How often the job was started for this night.", record.attempts)
    outcomes = Gauge("ranker_nightly_outcome", "1 for how the night ended.", ["outcome"], registry=registry)
    for outcome in Outcome:
        outcomes.labels(outcome.value).set(record.outcome == outcome)
    seconds = Gauge("ranker_nightly_stage_seconds", "Time of each stage that is done.", ["stage"], registry=registry)
    for stage in record.stages:
        seconds.labels(stage.name).set(stage.seconds)
    _data(registry, record)
    _quality(registry, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)


def _data(registry: CollectorRegistry, record: RunRecord) -> None:
    if (check := record.done("check")) is not None:
        rows = Gauge("ranker_nightly_rows", "Rows of each split.", ["split"], registry=registry)
        for split, number in check.summary["rows"].items():
            rows.labels(split).set(number)
        _gauge(registry, "data_warnings", "Warnings of the data check.", check.summary["warnings"])
    if (train := record.done("train")) is not None:
        _gauge(registry, "rows_per_second", "Training rows per second.", train.summary["rows_per_second"])


def _quality(registry: CollectorRegistry, folder: Path) -> None:
    """Metrics of the test rows, by output, once they were measured."""
    path = folder / "metrics.json"
    if not path.exists():
        return
    quality = Gauge("ranker_nightly_test_quality", "Metrics of the test rows.", ["output", "metric"], registry=registry)
    for output, report in json.loads(path.read_bytes())["test"]["outputs"].items():
        for metric in ("auc", "log_loss", "rmse"):
            if report[metric] is not None:
                quality.labels(output, metric).set(report[metric])


def _gauge(registry: CollectorRegistry, name: str, text: str, value: float) -> None:
    Gauge(f"ranker_nightly_{name}", text, registry=registry).set(value)


def _midnight(record: RunRecord) -> float:
    return datetime.combine(record.date, time(), UTC).timestamp()
