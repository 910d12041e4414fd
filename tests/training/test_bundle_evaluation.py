"""A bundle judged by itself gives what the run that wrote it reported."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ranker.bundle import Bundle
from ranker.errors import BundleError, DataError
from training.bundle_evaluation import evaluate_bundle
from training.config import ExperimentConfig
from training.errors import ConfigError
from training.run import RunResult


@pytest.fixture
def bundle(trained: RunResult, run_folder: Path) -> Path:
    return run_folder / "bundle"


def test_same_report_as_the_run(trained: RunResult, bundle: Path, config: ExperimentConfig, log_file: Path) -> None:
    found = evaluate_bundle(bundle, config, log_file, "test").report.scalars()
    expected = trained.report.scalars()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-5), name


def test_scores_are_the_bundles_in_file_order(
    bundle: Path, config: ExperimentConfig, log_file: Path, log_table: pa.Table
) -> None:
    scores = evaluate_bundle(bundle, config, log_file, "valid").scores
    rows = log_table.filter(pa.compute.equal(log_table["split"], "valid"))
    assert set(scores) == {"user_id", "item_id", "request_id", "time", "ctr", "cvr", "spend", "ctcvr", "score"}
    assert scores["item_id"].tolist() == rows["item_id"].to_pylist()
    loaded = Bundle.load(bundle)
    for name, values in loaded.score_rows(rows).items():
        np.testing.assert_allclose(scores[name], values, rtol=0, atol=1e-6)
    np.testing.assert_allclose(scores["score"], 0.7 * scores["ctcvr"] + 0.3 * scores["ctr"])


def test_another_schema(bundle: Path, settings: dict[str, Any], log_file: Path) -> None:
    settings["schema"]["features"].pop()
    with pytest.raises(ConfigError, match=r"`schema` must be that of bundle .*config\.yaml of the run"):
        evaluate_bundle(bundle, ExperimentConfig.model_validate(settings), log_file, "test")


def test_empty_split(bundle: Path, config: ExperimentConfig, log_table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(log_table.slice(0, 100), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet': split 'test' has no rows"):
        evaluate_bundle(bundle, config, tmp_path / "log.parquet", "test")


def test_bad_value_names_the_data(bundle: Path, config: ExperimentConfig, log_table: pa.Table, tmp_path: Path) -> None:
    column = log_table.column_names.index("price")
    pq.write_table(log_table.set_column(column, "price", pa.array(["x"] * 700)), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet'.*'price' must hold numbers, got 'x'"):
        evaluate_bundle(bundle, config, tmp_path / "log.parquet", "test")


def test_damaged_bundle(bundle: Path, config: ExperimentConfig, log_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    (copy / "metrics.json").write_bytes((copy / "metrics.json").read_bytes() + b" ")
    with pytest.raises(BundleError, match=r"metrics\.json"):
        evaluate_bundle(copy, config, log_file, "test")
