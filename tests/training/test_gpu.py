"""Training on a GPU goes as on the CPU: losses, balances, checkpoints, bundles. Needs CUDA, and fbgemm built for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from torch import Tensor

from ranker.bundle import Bundle
from ranker.encoding import Encoder
from ranker.layers.plain_tables import PlainTables
from ranker.weighting import WeightingConfig
from ranker.weighting.base import WeightingOptions
from tests.training.conftest import SETTINGS
from tests.training.test_resume import NUM_TRAIN_ROWS, build
from tests.training.test_step_state import Run
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.errors import Interrupted
from training.network import Network
from training.precision import resolve
from training.predictions import predict
from training.simulation import SimulationConfig, simulate
from training.trainer import Trainer
from training.warm_start import TrainedState

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("group")]

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PLACEMENTS = ("plain", "sharded")
MEMBERS = typing.get_args(typing.get_args(WeightingConfig)[0])
ARCHITECTURES = ("mmoe", "ple", "shared_bottom")
LEARNING_RATE: float = SETTINGS["training"]["dense"]["learning_rate"]
WAITS = 2  # of a step for the GPU: for the losses, and for the norm of the gradient


@pytest.fixture
def batches(encoder: Encoder, log_table: pa.Table) -> list[Batch]:
    """Batches of which the last is smaller."""
    return [encode_batch(encoder, log_table.slice(41 * place, 41 if place < 5 else 13)) for place in range(6)]


def run(settings: dict[str, Any], encoder: Encoder, device: torch.device, placement: str = "plain") -> Run:
    """The experiment on a device, its tables there; on the CPU they are always plain."""
    settings["training"]["tables"]["placement"] = placement if device == CUDA else "plain"
    return Run(ExperimentConfig.model_validate(settings), encoder, device)


def assert_states_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal up to a tenth of one step: Adam makes a whole step of a gradient that is nothing but rounding."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].device == CPU, name
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=0.1 * LEARNING_RATE, msg=name)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_every_architecture_trains_as_on_the_cpu(
    placement: str, of_each_model: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    runs = [run(of_each_model, encoder, device, placement) for device in (CPU, CUDA)]
    for each in runs:
        each.network.architecture.eval()  # some draw numbers, and a GPU draws others
    expected, found = (each.steps(batches) for each in runs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert_states_close(runs[1].network.state(), runs[0].network.state())


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.model_fields["name"].default)
def test_every_balance_weighs_as_on_the_cpu(
    member: type[WeightingOptions], placement: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    settings["weighting"] = {"name": member.model_fields["name"].default}
    if "target" in member.model_fields:
        settings["weighting"]["target"] = "ctr"
    expected, found = (run(settings, encoder, device, placement).steps(batches) for device in (CPU, CUDA))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("scope", ["exact", "representation", "last_shared"])
def test_every_gram_is_that_of_the_cpu(
    scope: str, placement: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    settings["weighting"] = {"name": "pe_ltr", "gram": {"scope": scope, "every": 2}}
    grams = []
    for device in (CPU, CUDA):
        each = run(settings, encoder, device, placement)
        each.steps(batches)
        assert each.step.average is not None
        grams.append(each.step.average.mean_TT)
    torch.testing.assert_close(grams[1], grams[0], rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_auto_is_bfloat16_and_trains_alike(
    placement: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    assert resolve("auto", CUDA) == "bf16"
    exact = torch.stack(run(settings, encoder, CUDA, placement).steps(batches))
    settings["training"]["precision"] = "auto"
    lowered = run(settings, encoder, CUDA, placement)
    found = torch.stack(lowered.steps(batches))
    assert lowered.step.precision == "bf16"
    assert not torch.equal(found, exact)  # or nothing was computed in bfloat16
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.02)
    assert {tensor.dtype for tensor in lowered.network.state().values()} == {torch.float32}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_weights(
    precision: str, placement: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    settings["model"]["dropout"] = 0.3
    settings["weighting"] = {"name": "pe_ltr", "gram": {"every": 2}}
    settings["training"]["precision"] = precision
    states = []
    for _ in range(2):
        each = run(settings, encoder, CUDA, placement)
        each.steps(batches)
        states.append(each.network.state() | each.step.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(states[1][name], tensor), name


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("first", "second"), [(CPU, CUDA), (CUDA, CPU)], ids=["cpu-cuda", "cuda-cpu"])
def test_a_state_goes_on_on_the_other_device(
    first: torch.device,
    second: torch.device,
    placement: str,
    settings: dict[str, Any],
    encoder: Encoder,
    batches: list[Batch],
) -> None:
    settings["weighting"] = {"name": "pe_ltr", "gram": {"every": 2}}
    through, begun, resumed = (run(settings, encoder, device, placement) for device in (first, first, second))
    through.steps(batches)
    begun.steps(batches[:3])
    resumed.network.load_state(begun.network.state())
    resumed.step.load_state_dict(begun.step.state_dict())
    resumed.steps(batches[3:])
    assert_states_close(resumed.network.state(), through.network.state())


def trainer_on(device: torch.device, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Trainer:
    """A trainer takes a GPU where there is one; here it may have to do without."""
    with monkeypatch.context() as hidden:
        if device == CPU:
            hidden.setattr(torch.cuda, "is_available", lambda: False)
        trainer = build(*arguments)
    assert trainer.device.type == device.type
    return trainer


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize(("first", "second"), [(CPU, CUDA), (CUDA, CPU)], ids=["cpu-cuda", "cuda-cpu"])
def test_a_checkpoint_goes_on_on_the_other_device(
    first: torch.device,
    second: torch.device,
    placement: str,
    settings: dict[str, Any],
    log_file: Path,
    encoder: Encoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings["training"]["tables"]["placement"] = placement
    config = ExperimentConfig.model_validate(settings)
    undisturbed = trainer_on(first, monkeypatch, config, log_file, encoder, None, 10_000).fit(NUM_TRAIN_ROWS)
    with pytest.raises(Interrupted):
        trainer_on(first, monkeypatch, config, log_file, encoder, tmp_path, 11).fit(NUM_TRAIN_ROWS)
    moved = trainer_on(second, monkeypatch, config, log_file, encoder, tmp_path, 10_000).fit(NUM_TRAIN_ROWS)
    assert [epoch.number for epoch in moved.epochs] == [epoch.number for epoch in undisturbed.epochs]
    for found, expected in zip(moved.epochs, undisturbed.epochs, strict=True):
        assert found.losses == pytest.approx(expected.losses, rel=1e-3)
        assert found.valid == pytest.approx(expected.valid, rel=0.01, abs=0.01)


def waits_of(each: Run, batch: Batch) -> list[str]:
    """Where one step waits for the GPU."""
    on_device = batch.to(CUDA)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            each.step(on_device.encoded, on_device.targets)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    found = [warning for warning in caught if "synchronizing CUDA operation" in str(warning.message)]
    return [f"{Path(warning.filename).name}:{warning.lineno}" for warning in found]


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_step_waits_for_the_gpu_twice_and_for_its_tables(
    placement: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    each = run(settings, encoder, CUDA, placement)
    each.steps(batches[:2])
    waits = waits_of(each, batches[2])
    # Sharded ones: torchrec counts ids by feature, twice. Plain ones: ids by feature, then distinct ones of each width.
    tables = each.network.embedding.collection
    expected = 1 + len(tables.groups) if isinstance(tables, PlainTables) else 2
    assert len(waits) == WAITS + expected, waits


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Impressions of a simulated shop."""
    folder = tmp_path_factory.mktemp("simulated")
    simulate(
        SimulationConfig(num_impressions=40_000, num_users=300, num_items=90, base_ctr=0.3, seed=7), folder / "log"
    )
    return folder / "log" / "impressions"


def train_on(device: torch.device, config: Path, log: Path, out: Path) -> dict[str, Any]:
    """`ranker-train train` in a process that sees the GPU or does not; what `metrics.json` then holds."""
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": ""} if device == CPU else {})
    command = [sys.executable, "-W", "ignore", "-m", "training.cli", "train", str(config)]
    done = subprocess.run(
        [*command, "--data", str(log), "--out", str(out)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_bytes())
    return metrics


@pytest.fixture(scope="module")
def experiment_of(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Writes the experiment on simulated impressions with another architecture, its tables there."""

    def write(architecture: str, placement: str) -> Path:
        content = yaml.safe_load((repository / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
        content["model"] = {"name": architecture, "dropout": 0.0}
        content["training"] |= {"epochs": 2, "batch_size": 512}
        content["training"]["tables"]["placement"] = placement
        path = tmp_path_factory.mktemp("experiment") / f"{architecture}.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_whole_run_ends_as_on_the_cpu(
    architecture: str, placement: str, experiment_of: Callable[[str, str], Path], log: Path, tmp_path: Path
) -> None:
    config = experiment_of(architecture, placement)
    expected, found = (train_on(device, config, log, tmp_path / device.type) for device in (CPU, CUDA))
    for ours, theirs in zip(found["history"]["epochs"], expected["history"]["epochs"], strict=True):
        assert ours["losses"] == pytest.approx(theirs["losses"], rel=0.01)
    for output, report in expected["test"]["outputs"].items():
        assert found["test"]["outputs"][output]["auc"] == pytest.approx(report["auc"], abs=0.01), output
    assert_bundle_scores_as_trained(load_config(config), log, tmp_path / "cuda")


def assert_bundle_scores_as_trained(config: ExperimentConfig, log: Path, out: Path) -> None:
    """The bundle says what the trained network says on the CPU, within its own tolerance."""
    bundle = Bundle.load(out / "bundle")
    assert bundle.verify_golden() <= bundle.manifest.golden_tolerance
    network = Network(config, bundle.encoder, CPU)
    network.load_state(TrainedState.load(out).network)
    impressions = Impressions(log, config)
    trained = bundle.calibration.apply(predict(network, impressions, bundle.encoder, "test", 16_384).raw)
    rows = pa.Table.from_batches(list(impressions.rows("test")))
    for output, scores in bundle.score_rows(rows).items():
        np.testing.assert_allclose(scores, trained[output], atol=bundle.manifest.golden_tolerance, err_msg=output)
