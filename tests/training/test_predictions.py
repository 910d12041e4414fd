"""Predictions are the network's own, row by row in file order, beside what was observed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from ranker.calibration import Calibration
from ranker.encoding import Encoder
from training.config import ExperimentConfig
from training.data import Impressions
from training.network import Network
from training.predictions import Predictions, id_values, predict

pytestmark = pytest.mark.usefixtures("group")


@pytest.fixture
def network(config: ExperimentConfig, encoder: Encoder) -> Network:
    return Network(config, encoder, torch.device("cpu"))


@pytest.fixture
def predictions(network: Network, encoder: Encoder, config: ExperimentConfig, log_file: Path) -> Predictions:
    return predict(network, Impressions(log_file, config), encoder, "valid", 31)


def test_rows_in_file_order(predictions: Predictions, log_table: pa.Table) -> None:
    rows = log_table.filter(pa.compute.equal(log_table["split"], "valid"))
    assert predictions.user_ids is not None
    assert predictions.request_ids is not None
    assert predictions.user_ids.tolist() == rows["user_id"].to_pylist()
    assert predictions.request_ids.tolist() == rows["request_id"].to_pylist()
    assert predictions.labels["click"].tolist() == rows["click"].to_pylist()


@pytest.mark.parametrize("batch_size", [1, 104, 1000])
def test_batch_size_changes_nothing(
    batch_size: int,
    predictions: Predictions,
    network: Network,
    encoder: Encoder,
    config: ExperimentConfig,
    log_file: Path,
) -> None:
    other = predict(network, Impressions(log_file, config), encoder, "valid", batch_size)
    for task, raw in predictions.raw.items():
        np.testing.assert_allclose(other.raw[task], raw, rtol=0, atol=1e-6)


def test_report_and_masks(predictions: Predictions, config: ExperimentConfig) -> None:
    report = predictions.report(Calibration.identity(config.data_schema), config.policy)
    labels, masks = predictions.masks()
    assert set(labels) == set(masks) == set(config.data_schema.task_names)
    assert report.num_rows == 105
    for task in config.data_schema.task_names:
        assert report[task].num_rows == masks[task].sum()
    assert {fused.output for fused in report.fused} == {"ctr", "cvr", "ctcvr"}
    assert predictions.label_variance("spend") == pytest.approx(np.var(labels["spend"][masks["spend"]]))


def test_ids_are_optional(settings: dict[str, Any], network: Network, encoder: Encoder, log_file: Path) -> None:
    settings["schema"]["ids"] = {}
    config = ExperimentConfig.model_validate(settings)
    other = Encoder(config.data_schema, encoder.vocabularies, encoder.numeric_maps)
    found = predict(network, Impressions(log_file, config), other, "test", 50)
    assert found.user_ids is None
    assert found.request_ids is None
    assert found.report(Calibration.identity(config.data_schema), config.policy)["ctr"].gauc is None


def test_id_values() -> None:
    assert id_values(pa.array(["a", "b", "a"]).dictionary_encode()).tolist() == ["a", "b", "a"]
    assert id_values(pa.array([3, 4])).tolist() == [3, 4]
    assert id_values(pa.array([3, 4, 3]).dictionary_encode()).tolist() == [3, 4, 3]
    parts = pa.chunked_array([["a", None, "b"], ["c", "a"]])
    assert id_values(parts).tolist() == id_values(parts.dictionary_encode()).tolist() == ["a", None, "b", "c", "a"]


def test_equal_ids_are_one_object() -> None:
    found = id_values(pa.chunked_array([["a long name", "b"], ["a long name"]]))
    assert found[0] is found[2]
