"""A run that is stopped at any step and started again ends bit by bit as one that was left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from torch import Tensor

from ranker.encoding import Encoder
from training.checkpoint import Checkpoints
from training.config import ExperimentConfig
from training.data import Impressions
from training.errors import Interrupted
from training.progress import Progress
from training.trainer import Trainer

NUM_TRAIN_ROWS = 490
STEPS_PER_EPOCH = 8


class StopAfter:
    """Asks a run to stop when it has looked so many times."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def build(config: ExperimentConfig, data: Path, encoder: Encoder, checkpoints: Path | None, stop: int) -> Trainer:
    kept = None if checkpoints is None else Checkpoints(checkpoints)
    return Trainer(
        config, Impressions(data, config), encoder, Progress(quiet=True), checkpoints=kept, stop=StopAfter(stop)
    )


def finish(trainer: Trainer) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    history = trainer.fit(NUM_TRAIN_ROWS)
    state = {**trainer.network.state(), **trainer.step.state_dict()}
    return state, [epoch.losses | epoch.weights | epoch.valid for epoch in history.epochs]


def assert_equal(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assert one[0].keys() == other[0].keys()
    for name, tensor in one[0].items():
        assert torch.equal(tensor, other[0][name]), name
    assert one[1] == other[1]


@pytest.fixture(params=["dropout", "gram", "famo", "trusted_rows"])
def experiment(request: pytest.FixtureRequest, settings: dict[str, Any]) -> ExperimentConfig:
    """Experiments with every kind of state: random numbers, an average Gram matrix, a balance that learns, draws."""
    settings["model"]["dropout"] = 0.3
    settings["training"]["checkpoints"] = {"every_seconds": 0}
    if request.param == "gram":
        settings["weighting"] = {"name": "pe_ltr", "gram": {"every": 3}}
    elif request.param == "famo":
        settings["weighting"] = {"name": "famo"}
    elif request.param == "trusted_rows":
        settings["training"]["clean_rows"] = {"column": "click", "per_step": 13}
    return ExperimentConfig.model_validate(settings)


@pytest.mark.usefixtures("group")
def test_stopped_twice_anywhere_ends_as_if_never_stopped(
    experiment: ExperimentConfig, log_file: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = finish(build(experiment, log_file, encoder, None, 10_000))

    @given(first=st.integers(0, 3 * STEPS_PER_EPOCH - 1), second=st.integers(0, 5))
    @hypothesis_settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def holds(first: int, second: int) -> None:
        folder = tmp_path_factory.mktemp("run")
        for stop in (first, second):
            torch.manual_seed(stop)  # what was drawn before must not matter
            trainer = build(experiment, log_file, encoder, folder, stop)
            try:
                trainer.fit(NUM_TRAIN_ROWS)
            except Interrupted:
                continue
        assert_equal(finish(build(experiment, log_file, encoder, folder, 10_000)), undisturbed)

    holds()
