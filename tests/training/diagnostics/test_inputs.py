"""Covariances come from the rows that a task has, as the network represents them, and from features it may use."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ranker.encoding import Encoder
from training.config import ExperimentConfig
from training.data import Impressions
from training.diagnostics.covariance import covariance_similarity
from training.diagnostics.inputs import input_similarity, represent
from training.network import Network

Settings = dict[str, Any]

pytestmark = pytest.mark.usefixtures("group")


def test_rows_with_labels_as_the_network_represents_them(
    experiment: ExperimentConfig, impressions: Impressions, fitted: Encoder
) -> None:
    network = Network(experiment, fitted, torch.device("cpu"))
    found = input_similarity(network, fitted, impressions, seed=3, batch_size=101)
    (batch,) = impressions.batches("train", fitted, 490, seed=9)
    x_ND = represent(network, batch.encoded).detach().double().numpy()
    rows = [x_ND[mask] for mask in batch.targets.mask_BT.numpy().T]
    expected = covariance_similarity(
        found.tasks, np.stack([x.T @ x for x in rows]), [len(x) for x in rows], np.eye(3) > 0
    )
    assert found.num_rows == expected.num_rows
    assert np.array(found.raw) == pytest.approx(np.array(expected.raw), rel=1e-6)


def test_same_rows_tell_nothing_unless_features_differ(quick: Settings, log_file: Path) -> None:
    content = deepcopy(quick)
    content["schema"]["tasks"][2]["space"] = {"where": {"click": 1}}  # spend: the same rows as cvr
    assert informative(content, log_file)[1] == (True, False, False)
    content["schema"]["tasks"][2]["features"] = ["price", "city"]
    assert informative(content, log_file)[1] == (True, False, True)


def informative(content: Settings, log_file: Path) -> tuple[tuple[bool, ...], ...]:
    config = ExperimentConfig.model_validate(content)
    impressions = Impressions(log_file, config)
    encoder = Encoder.fit(config.data_schema, impressions.rows("train"))
    return input_similarity(Network(config, encoder, torch.device("cpu")), encoder, impressions, seed=1).informative
