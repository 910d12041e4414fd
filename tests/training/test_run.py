"""A run leaves all it promises, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ranker.bundle import Bundle
from ranker.errors import BundleError, DataError
from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.errors import ConfigError, DivergenceError, Interrupted
from training.progress import Progress
from training.run import RunResult, check_data, train
from training.warm_start import TrainedState

QUIET = Progress(quiet=True)


def test_what_a_run_leaves(trained: RunResult, config: ExperimentConfig, run_folder: Path, log_file: Path) -> None:
    left = {path.name for path in run_folder.iterdir()}
    assert left == {"bundle", "config.yaml", "metrics.json", "tensorboard", "trained"}
    assert load_config(run_folder / "config.yaml") == config
    metrics = json.loads((run_folder / "metrics.json").read_text())
    assert set(metrics) == {"test", "valid", "history"}
    assert metrics["history"] == json.loads(json.dumps(trained.history.to_dict()))
    assert metrics["test"]["num_rows"] == 105
    assert list((run_folder / "tensorboard").glob("events.out.tfevents.*"))
    assert trained.bundle is not None
    assert trained.bundle.manifest.data["path"] == log_file.name
    assert trained.bundle.manifest.data["splits"]["train"]["rows"] == 490


def test_a_run_is_not_overwritten(
    trained: RunResult, config: ExperimentConfig, log_file: Path, run_folder: Path
) -> None:
    before = (run_folder / "metrics.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"already holds a bundle; choose another --out"):
        train(config, log_file, run_folder, QUIET)
    assert (run_folder / "metrics.json").stat().st_mtime_ns == before


def test_out_that_is_a_file(config: ExperimentConfig, log_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out" / "run"):
        with pytest.raises(ConfigError, match="choose another --out"):
            train(config, log_file, out, QUIET)
    assert (tmp_path / "out").read_text() == "mine"


def test_check_data_finds_what_only_the_test_rows_have(
    config: ExperimentConfig, log_table: pa.Table, tmp_path: Path
) -> None:
    price = log_table["price"].to_pylist()
    price[-1] = float("inf")
    column = log_table.column_names.index("price")
    pq.write_table(log_table.set_column(column, "price", pa.array(price)), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"log\.parquet.*'price'.*inf"):
        train(config, tmp_path / "log.parquet", tmp_path / "run", QUIET)
    assert not (tmp_path / "run").exists()


def test_check_data_fits_on_training_rows_alone(config: ExperimentConfig, log_file: Path) -> None:
    counts, encoder = check_data(Impressions(log_file, config))
    assert counts["train"]["rows"] == 490
    assert encoder.fingerprint == check_data(Impressions(log_file, config))[1].fingerprint
    assert encoder.num_embeddings["tags"] == 11 + 2


def test_divergence_leaves_no_bundle(settings: dict[str, Any], log_file: Path, tmp_path: Path) -> None:
    settings["training"].update(max_bad_steps=2, dense={"learning_rate": 1e30, "max_gradient_norm": None})
    with pytest.raises(DivergenceError, match="task '"):
        train(ExperimentConfig.model_validate(settings), log_file, tmp_path / "run", QUIET)
    assert not (tmp_path / "run" / "bundle").exists()
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_failed_export_leaves_no_half_bundle(
    settings: dict[str, Any], log_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disagree(_: Bundle) -> float:
        raise BundleError("training and serving disagree")

    monkeypatch.setattr(Bundle, "verify_golden", disagree)
    settings["training"]["epochs"] = 1
    with pytest.raises(BundleError, match="disagree"):
        train(ExperimentConfig.model_validate(settings), log_file, tmp_path / "run", QUIET)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"checkpoints", "config.yaml", "fingerprint", "tensorboard", "trained"}  # a second try goes on


@pytest.mark.parametrize("split", [{"by": "time"}, {"by": "user", "valid_fraction": 0.2, "test_fraction": 0.2}])
def test_other_splits_train(split: dict[str, Any], settings: dict[str, Any], log_file: Path, tmp_path: Path) -> None:
    settings["training"].update(split=split, epochs=1)
    result = train(ExperimentConfig.model_validate(settings), log_file, tmp_path / "run", QUIET)
    assert result.bundle is not None
    assert result.bundle.verify_golden() <= 1e-6


def test_a_stopped_run_goes_on_only_with_the_same_experiment(
    settings: dict[str, Any], log_file: Path, tmp_path: Path
) -> None:
    config, out = ExperimentConfig.model_validate(settings), tmp_path / "run"
    looks = iter([False] * 9 + [True])
    with pytest.raises(Interrupted):
        train(config, log_file, out, QUIET, stop=lambda: next(looks))
    settings["training"]["epochs"] = 1
    with pytest.raises(ConfigError, match=r"unfinished run of another experiment.*--out"):
        train(ExperimentConfig.model_validate(settings), log_file, out, QUIET)
    result = train(config, log_file, out, QUIET)
    assert result.bundle is not None
    undisturbed = train(config, log_file, tmp_path / "other", QUIET)
    assert undisturbed.bundle is not None
    weights, expected = result.bundle.model.state_dict(), undisturbed.bundle.model.state_dict()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_a_run_goes_on_from_an_earlier_one_or_from_its_bundle(
    trained: RunResult, config: ExperimentConfig, log_file: Path, run_folder: Path, tmp_path: Path
) -> None:
    assert trained.bundle is not None
    one_epoch = config.model_copy(update={"training": config.training.model_copy(update={"epochs": 1})})
    for name, path in (("run", run_folder), ("bundle", trained.bundle.path)):
        earlier = TrainedState.load(path)
        assert earlier.with_optimizers == (name == "run")
        result = train(one_epoch, log_file, tmp_path / name, QUIET, earlier=earlier)
        assert result.history.epochs[0].losses["ctr"] < trained.history.epochs[0].losses["ctr"]
