"""Watching changes nothing about a run, and sees all of it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ranker.encoding import Encoder
from tests.training.diagnostics.architectures import NAMES, with_model
from training.config import ExperimentConfig
from training.data import Impressions
from training.diagnostics.gates import gate_use
from training.diagnostics.inputs import input_similarity
from training.diagnostics.watched import AFFINITIES_PER_EPOCH, GRAMS_PER_EPOCH, WatchedTrainer
from training.progress import Progress
from training.trainer import Trainer

Settings = dict[str, Any]
NUM_TRAIN_ROWS = 490
FEW_ROWS = {"by": "column", "train": "test", "valid": "valid", "test": "train"}  # 105 to train on: fewer steps

pytestmark = pytest.mark.usefixtures("group")


def watch(
    config: ExperimentConfig, impressions: Impressions, encoder: Encoder, affinities: bool = True
) -> WatchedTrainer:
    trainer = WatchedTrainer(config, impressions, encoder, Progress(quiet=True), NUM_TRAIN_ROWS, affinities)
    trainer.fit(NUM_TRAIN_ROWS)
    return trainer


@pytest.mark.parametrize(
    "weighting",
    [{"name": "static"}, {"name": "pe_ltr", "gram": {"every": 2}}],
    ids=lambda w: w["name"],
)
def test_a_watched_run_is_the_same_run(weighting: Settings, quick: Settings, log_file: Path, fitted: Encoder) -> None:
    config = ExperimentConfig.model_validate(deepcopy(quick) | {"weighting": weighting})
    impressions = Impressions(log_file, config)
    plain = Trainer(config, impressions, fitted, Progress(quiet=True))
    plain.fit(NUM_TRAIN_ROWS)
    watched = watch(config, impressions, fitted)
    torch.testing.assert_close(watched.network.state(), plain.network.state(), rtol=0, atol=0)
    assert watched.history.epochs[0].losses == plain.history.epochs[0].losses


def test_measurements_are_spread_over_the_epochs(
    experiment: ExperimentConfig, impressions: Impressions, fitted: Encoder
) -> None:
    watched = watch(experiment, impressions, fitted)
    steps = -(-NUM_TRAIN_ROWS // experiment.training.batch_size)
    gradients, losses, affinity = watched.gradients(), watched.loss_share(), watched.affinity()
    assert gradients.steps == tuple(range(0, steps, max(1, steps // GRAMS_PER_EPOCH)))
    assert losses.steps[-1] == steps
    assert losses.gradient_steps == gradients.steps
    assert affinity is not None
    assert affinity.steps == tuple(range(0, steps, max(1, steps // AFFINITIES_PER_EPOCH)))
    assert gradients.tasks == losses.tasks == affinity.tasks == ("ctr", "cvr", "spend")
    # Own steps help; those of cvr, on 30 rows each, are too noisy to tell
    assert [affinity.mean[place][place] > 0 for place in (0, 2)] == [True] * 2


def test_without_affinities_none_are_measured(
    experiment: ExperimentConfig, impressions: Impressions, fitted: Encoder
) -> None:
    watched = watch(experiment, impressions, fitted, affinities=False)
    assert watched.affinity() is None
    assert len(watched.gradients().steps) > 1


def test_a_task_too_rare_to_be_measured_has_no_affinity(quick: Settings, log_file: Path, fitted: Encoder) -> None:
    content = deepcopy(quick)
    content["training"]["batch_size"] = 1  # no row has a click and none at once
    content["training"]["split"] = FEW_ROWS
    content["schema"]["tasks"][2]["space"] = {"where": {"click": 0}}
    content["schema"]["tasks"][2]["label"] = "buy"
    content["schema"]["tasks"][2]["kind"] = "binary"
    config = ExperimentConfig.model_validate(content)
    encoder = Encoder(config.data_schema, fitted.vocabularies, fitted.numeric_maps)
    watched = watch(config, Impressions(log_file, config), encoder)
    assert watched.affinity() is None
    cvr_and_other = watched.gradients().pairs[2]
    assert cvr_and_other.relation == "unknown"


@pytest.mark.parametrize("name", NAMES)
def test_any_architecture_can_be_watched(name: str, quick: Settings, log_file: Path, fitted: Encoder) -> None:
    content = deepcopy(quick)
    content["training"] |= {"batch_size": 40, "split": FEW_ROWS}
    config = with_model(content, name=name, tower_dims=[])  # linear: no tower can be dead
    impressions = Impressions(log_file, config)
    encoder = Encoder(config.data_schema, fitted.vocabularies, fitted.numeric_maps)
    watched = watch(config, impressions, encoder)
    affinity = watched.affinity()
    assert affinity is not None
    assert np.isfinite(affinity.mean).all()
    assert [pair.mean is not None for pair in watched.gradients().pairs] == [True] * 3
    gates = gate_use(watched.network, encoder, impressions, split="valid")
    assert bool(gates.gates) != bool(gates.reason)
    assert input_similarity(watched.network, encoder, impressions, seed=1).tasks == watched.tasks
