"""Plain tables train as sharded ones do, and hand their state on to them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torchrec.distributed import DistributedModelParallel

from ranker.encoding import Encoder
from ranker.layers.plain_tables import PlainTables
from tests.training.test_step_state import Run
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig
from training.errors import ConfigError
from training.network import Network

pytestmark = pytest.mark.usefixtures("group")

OPTIMIZERS = ("rowwise_adagrad", "sgd")


@pytest.fixture
def batches(encoder: Encoder, log_table: pa.Table) -> list[Batch]:
    return [encode_batch(encoder, log_table.slice(41 * place, 41 if place < 5 else 13)) for place in range(6)]


def run(settings: dict[str, Any], encoder: Encoder, placement: str) -> Run:
    """The experiment with its tables there."""
    settings["training"]["tables"]["placement"] = placement
    return Run(ExperimentConfig.model_validate(settings), encoder)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape, name
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_training(optimizer: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    settings["training"]["tables"]["name"] = optimizer
    plain, sharded = run(settings, encoder, "plain"), run(settings, encoder, "sharded")
    before = plain.network.state()
    for name, tensor in sharded.network.state().items():
        assert torch.equal(before[name], tensor), name
    torch.testing.assert_close(plain.steps(batches), sharded.steps(batches), rtol=1e-5, atol=1e-6)
    assert_close(plain.network.state(), sharded.network.state())
    assert not torch.equal(plain.network.state()["tables/items"], before["tables/items"])


def test_every_architecture(of_each_model: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    seen = []
    for placement in ("plain", "sharded"):
        torch.manual_seed(3)  # some architectures draw numbers
        seen.append(run(of_each_model, encoder, placement).steps(batches[:2]))
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-5, atol=1e-6)


def test_the_same_exact_gram(settings: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    settings["weighting"] = {"name": "pe_ltr", "gram": {"every": 2}}
    plain, sharded = run(settings, encoder, "plain"), run(settings, encoder, "sharded")
    torch.testing.assert_close(plain.steps(batches), sharded.steps(batches), rtol=1e-4, atol=1e-6)
    assert plain.step.average is not None
    assert sharded.step.average is not None
    torch.testing.assert_close(plain.step.average.mean_TT, sharded.step.average.mean_TT, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(("first", "second"), [("plain", "sharded"), ("sharded", "plain")])
def test_training_goes_on_elsewhere(
    first: str, second: str, settings: dict[str, Any], encoder: Encoder, batches: list[Batch]
) -> None:
    through, begun, resumed = (run(settings, encoder, placement) for placement in (first, first, second))
    through.steps(batches)
    begun.steps(batches[:3])
    resumed.network.load_state(begun.network.state())
    resumed.step.load_state_dict(begun.step.state_dict())
    for task, expected_B in begun.network.predict(batches[0].encoded).items():
        torch.testing.assert_close(resumed.network.predict(batches[0].encoded)[task], expected_B, rtol=0, atol=1e-6)
    resumed.steps(batches[3:])
    assert_close(resumed.network.state(), through.network.state())


def test_the_same_bundle(settings: dict[str, Any], encoder: Encoder, batches: list[Batch]) -> None:
    plain = run(settings, encoder, "plain")
    plain.steps(batches)
    encoded = batches[0].encoded
    scores = plain.network.scoring_graph()(*encoded.request, *encoded.item, torch.arange(len(encoded.item.numeric_BN)))
    for task, expected_B in plain.network.predict(encoded).items():
        torch.testing.assert_close(scores[task], expected_B, rtol=0, atol=1e-6)


def test_a_batch_without_rows_moves_no_table(settings: dict[str, Any], encoder: Encoder, log_table: pa.Table) -> None:
    plain = run(settings, encoder, "plain")
    before = plain.network.state()
    plain.steps([encode_batch(encoder, log_table.slice(0, 0))])
    assert_close(plain.network.state(), before)


def test_one_process_on_a_cpu_takes_plain_tables(settings: dict[str, Any], encoder: Encoder) -> None:
    assert isinstance(run(settings, encoder, "auto").network.embedding.collection, PlainTables)
    assert isinstance(run(settings, encoder, "sharded").network.embedding.collection, DistributedModelParallel)


def test_several_processes_are_refused(
    settings: dict[str, Any], encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings["training"]["tables"]["placement"] = "plain"
    config = ExperimentConfig.model_validate(settings)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(ConfigError, match=r"placement` must be 'auto' or 'sharded' with 2 processes, got 'plain'"):
        Network(config, encoder, torch.device("cpu"))
