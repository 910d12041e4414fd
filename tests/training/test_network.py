"""Whole states go in and out, every parameter trains, and what scores is what was trained."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
from torch import Tensor

from ranker.encoding import Encoder
from ranker.weighting import GramOptions
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig
from training.network import Network
from training.step import Step

pytestmark = pytest.mark.usefixtures("group")

CPU = torch.device("cpu")


@pytest.fixture
def batch(encoder: Encoder, log_table: pa.Table) -> Batch:
    return encode_batch(encoder, log_table.slice(0, 67))


def steps(network: Network, batch: Batch, count: int) -> None:
    config = network.config
    step = Step(
        network.embedding,
        network.architecture,
        config.model.objective(config.data_schema),
        config.weighting.build(config.data_schema.task_names),
        config.weighting.gram if isinstance(config.weighting, GramOptions) else None,
        torch.optim.AdamW(network.architecture.parameters(), lr=0.01, weight_decay=0.0),
        max_gradient_norm=10.0,
        max_bad_steps=1,
    )
    for _ in range(count):
        step(batch.encoded, batch.targets)


@pytest.mark.parametrize("weighting", ["static", "pe_ltr"])
def test_every_parameter_and_every_table_trains(
    weighting: str, of_each_model: dict[str, Any], encoder: Encoder, batch: Batch
) -> None:
    of_each_model["weighting"] = {"name": weighting}
    network = Network(ExperimentConfig.model_validate(of_each_model), encoder, CPU)
    before = network.state()
    tables = {name for name in before if name.startswith("tables/") and name.count("/") == 1}
    assert tables == {"tables/city", "tables/items", "tables/age", "tables/tags"}
    steps(network, batch, 3)
    for name, tensor in network.state().items():
        assert not torch.equal(tensor, before[name]), f"{name} did not move"
        assert tensor.isfinite().all()


def test_rows_that_no_batch_looked_up_stay(config: ExperimentConfig, encoder: Encoder, log_table: pa.Table) -> None:
    network = Network(config, encoder, CPU)
    few = encode_batch(encoder, log_table.slice(0, 2))
    before = network.state()["tables/city"]
    steps(network, few, 1)
    moved = (network.state()["tables/city"] != before).any(1).nonzero().flatten().tolist()
    assert moved == sorted(set(few.encoded.request.ids[:2].tolist()))


def test_state_comes_back_as_it_was(of_each_model: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    trained = Network(ExperimentConfig.model_validate(of_each_model), encoder, CPU)
    steps(trained, batch, 2)
    saved = trained.state()
    of_each_model["training"]["seed"] = 1234
    other = Network(ExperimentConfig.model_validate(of_each_model), encoder, CPU)
    assert not torch.equal(other.state()["tables/items"], saved["tables/items"])
    other.load_state(saved)
    assert_equal(other.state(), saved)
    assert_equal(other.predict(batch.encoded), trained.predict(batch.encoded))


def test_state_is_a_copy(config: ExperimentConfig, encoder: Encoder, batch: Batch) -> None:
    network = Network(config, encoder, CPU)
    saved = network.state()
    kept = {name: tensor.clone() for name, tensor in saved.items()}
    steps(network, batch, 1)
    assert_equal(saved, kept)


def test_optimizer_state_is_part_of_it(config: ExperimentConfig, encoder: Encoder) -> None:
    assert "tables/items/momentum1" in Network(config, encoder, CPU).state()


def test_first_values_depend_on_the_seed_and_the_name(settings: dict[str, Any], encoder: Encoder) -> None:
    first = Network(ExperimentConfig.model_validate(settings), encoder, CPU).state()
    assert_equal(Network(ExperimentConfig.model_validate(settings), encoder, CPU).state(), first)
    settings["training"]["tables"] = {"init_std": 0.2}
    wider = Network(ExperimentConfig.model_validate(settings), encoder, CPU).state()
    torch.testing.assert_close(wider["tables/items"], first["tables/items"] * 4)
    assert not torch.equal(first["tables/items"][:9, :8], first["tables/age"])


def test_scoring_graph_scores_the_same(of_each_model: dict[str, Any], encoder: Encoder, batch: Batch) -> None:
    of_each_model["model"]["dropout"] = 0.5
    network = Network(ExperimentConfig.model_validate(of_each_model), encoder, CPU)
    steps(network, batch, 2)
    scores = network.scoring_graph()(*batch.encoded.request, *batch.encoded.item, torch.arange(batch.num_rows))
    for task, expected in network.predict(batch.encoded).items():
        torch.testing.assert_close(scores[task], expected, rtol=0, atol=1e-6)


def test_prediction_leaves_the_mode_alone(config: ExperimentConfig, encoder: Encoder, batch: Batch) -> None:
    network = Network(config, encoder, CPU)
    for mode in (True, False):
        network.architecture.train(mode)
        network.predict(batch.encoded)
        assert network.architecture.training is mode


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
