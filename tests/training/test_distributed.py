"""One process or two: the same training, on the same global batches."""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import yaml

from ranker.bundle import Bundle
from ranker.encoding import Encoder
from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.distributed import process_group
from training.network import Network
from training.predictions import predict
from training.run import RunResult

SCRIPT = Path(__file__).with_name("several_steps.py")
VARIANTS = ("static", "exact", "between", "last_shared", "famo", "representation")


@pytest.fixture(scope="module")
def config_file(config: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configs") / "experiment.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json", by_alias=True)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def one(config_file: Path, log_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("one")
    runpy.run_path(str(SCRIPT))["main"](config_file, log_file, out)
    return dict(torch.load(out / "rank0.pt", weights_only=True))


@pytest.fixture(scope="module")
def two(
    config_file: Path, log_file: Path, tmp_path_factory: pytest.TempPathFactory, in_two_processes: Callable[..., Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    out = tmp_path_factory.mktemp("two")
    in_two_processes(str(SCRIPT), str(config_file), str(log_file), str(out))
    first, second = (torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    return first, second


def test_a_group_of_one_needs_no_network() -> None:
    assert "WORLD_SIZE" not in os.environ
    with process_group():
        assert dist.get_world_size() == 1
        with process_group():  # inside a group it is that group
            assert dist.is_initialized()
        assert dist.is_initialized()
    assert not dist.is_initialized()


def test_exchanges(two: tuple[dict[str, Any], dict[str, Any]]) -> None:
    for seen in two:
        found = seen["exchanges"]
        assert [tensor.flatten()[0].item() for tensor in found["average"]] == [0.5, 5.0]
        assert [list(tensor.shape) for tensor in found["average"]] == [[2, 3], [5]]
        assert found["total"].tolist() == [2.0, 1.0]
        assert found["gather_rows"].tolist() == [[0, 0], [0, 0], [0, 0], [1, 1]]
        assert found["gather_none"].tolist() == [[1, 1]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_process_ends_with_the_same_weights(variant: str, two: tuple[dict[str, Any], dict[str, Any]]) -> None:
    first, second = (seen[variant]["state"] for seen in two)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_train_as_one(
    variant: str, one: dict[str, Any], two: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    alone, shared = one[variant], two[0][variant]
    torch.testing.assert_close(shared["losses"], alone["losses"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shared["weights"], alone["weights"], rtol=1e-4, atol=1e-5)
    for name, tensor in alone["state"].items():
        torch.testing.assert_close(shared["state"][name], tensor, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("variant", ["exact", "between", "last_shared", "representation"])
def test_the_gram_matrix_does_not_depend_on_the_number_of_processes(
    variant: str, one: dict[str, Any], two: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    alone_TT = one[variant]["grams"][0]
    scale_TT = alone_TT.diagonal().sqrt()[:, None] * alone_TT.diagonal().sqrt()
    assert scale_TT.min() > 0
    for seen in two:
        assert float(((seen[variant]["grams"][0] - alone_TT).abs() / scale_TT).max()) <= 1e-6


@pytest.mark.parametrize("variant", VARIANTS)
def test_state_of_two_processes_loads_in_one(
    variant: str, two: tuple[dict[str, Any], dict[str, Any]], config_file: Path, log_file: Path, group: None
) -> None:
    overrides = runpy.run_path(str(SCRIPT))["VARIANTS"][variant]
    config = load_config(config_file, overrides)
    impressions = Impressions(log_file, config)
    encoder = Encoder.fit(config.data_schema, impressions.rows("train"))
    network = Network(config, encoder, torch.device("cpu"))
    network.load_state(two[0][variant]["state"])
    for task, raw in predict(network, impressions, encoder, "valid", 33).raw.items():
        torch.testing.assert_close(torch.from_numpy(raw), two[1][variant]["predictions"][task], rtol=0, atol=1e-6)


def test_a_whole_run_by_two_processes(
    config: ExperimentConfig,
    config_file: Path,
    log_file: Path,
    trained: RunResult,
    in_two_processes: Callable[..., list[str]],
    tmp_path: Path,
) -> None:
    half = f"training.batch_size={config.training.batch_size // 2}"
    printed = in_two_processes(
        *("-m", "training.cli", "train", str(config_file), "--data", str(log_file)),
        *("--out", str(tmp_path / "run"), "--set", half),
    )
    assert "bundle" in printed[0]
    assert printed[1] == ""
    assert Bundle.load(tmp_path / "run" / "bundle").verify_golden() <= 1e-6
    history = json.loads((tmp_path / "run" / "metrics.json").read_text())["history"]["epochs"]
    for epoch, alone in zip(history, trained.history.epochs, strict=True):
        # Each process reads its own share: the same rows, in other batches
        assert epoch["losses"] == pytest.approx(alone.losses, rel=0.1)
