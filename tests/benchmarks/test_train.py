"""The training benchmark asks all libraries for the same, and compares what was measured side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.support import train_data
from benchmarks.train import RECHUB, summary
from benchmarks.train_peers import contest
from benchmarks.train_peers.contest import Contest


def test_a_contest_survives_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Contest(Path("log.parquet"), ("a", "b"), ("x", "y", "z"), 5, 64, 1, 7, 0.003, ("bf16",))
    monkeypatch.setattr("sys.argv", ["contest", *asked.arguments()])
    assert contest.Contest.from_arguments() == asked


def test_every_value_of_the_big_tables_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_data, "TABLE_ROWS", 50)
    monkeypatch.setattr(train_data, "_SPLITS", {"train": 90, "valid": 20, "test": 30})
    features, labels = train_data.write_big_tables(path := tmp_path / "log.parquet")
    rows = pq.read_table(path)
    train = rows.filter(np.array(rows.column("split").to_pylist()) == "train")
    assert rows.num_rows == 140
    assert {len(train.column(name).unique()) for name in features} == {50}
    assert {value for label in labels for value in rows.column(label).to_pylist()} == {0, 1}
    read, _, sizes = Contest(path, features, labels, 1, 8, 1, 0, 0.001, ()).rows()
    assert set(sizes.values()) == {50}
    assert {split: len(ids["feature_3"]) for split, ids in read.items()} == {"train": 90, "valid": 20, "test": 30}


def test_ratios_are_taken_within_a_round() -> None:
    def rounds(*rates: float) -> list[dict[str, Any]]:
        return [{"rows_per_second": r, "rows_per_processor_second": r, "auc": {"x": 0.5}} for r in rates]

    lines = summary({"ours": rounds(6.0, 30.0, 8.0), RECHUB: rounds(2.0, 10.0, 1.0)})
    assert lines["ours"]["rows_per_second"] == 8.0
    assert lines["ours"]["rows_per_second_ratio"] == 3.0
    assert lines[RECHUB]["rows_per_second_ratio"] == 1.0
