"""The Gram matrix from sparse gradients equals the one that dense autograd gives over every table row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from torch import Tensor
from torch.distributed._tools.mem_tracker import MemTracker

from ranker.encoding import Encoder
from ranker.layers.embedding import EmbeddingLayer
from ranker.models import reached_by
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig
from training.gram import dense_gram, exact_gram, representation_gram, table_gram
from training.network import Network

pytestmark = pytest.mark.usefixtures("group")


def task_loss(network: Network, outputs: dict[str, Tensor], batch: Batch, task: str) -> Tensor:
    """Any loss will do, as long as no two tasks and no two rows have the same."""
    place = network.config.data_schema.task_names.index(task)
    return ((outputs[task] - batch.targets.labels_BT[:, place]) ** 2 * batch.targets.mask_BT[:, place]).mean()


def found_gram(network: Network, batch: Batch) -> Tensor:
    """As training does it: gradients stop at the representation."""
    x_BD = network.embedding(batch.encoded).detach().requires_grad_()
    outputs = network.architecture(x_BD)
    reached = reached_by(network.architecture, x_BD.detach())
    shared = [p for name, p in network.architecture.named_parameters() if len(reached[name]) > 1]
    by_task = [
        torch.autograd.grad(task_loss(network, outputs, batch, task), [x_BD, *shared], retain_graph=True)
        for task in network.config.data_schema.task_names
    ]
    gradients_TBD = torch.stack([gradients[0] for gradients in by_task])
    return exact_gram(network.embedding, batch.encoded, gradients_TBD, [gradients[1:] for gradients in by_task])


def dense_oracle(network: Network, batch: Batch) -> Tensor:
    """By plain autograd through plain lookups, over all rows of all tables and the shared dense parameters."""
    graph = network.scoring_graph()
    reached = reached_by(graph.architecture, torch.zeros(2, network.embedding.width))
    parameters = []
    for name, parameter in graph.named_parameters():
        own = name.removeprefix("architecture.")
        if not name.startswith("architecture.") or len(reached[own]) > 1:
            parameters.append(parameter.requires_grad_())
    outputs = graph(*batch.encoded.request, *batch.encoded.item, torch.arange(batch.num_rows))
    flat = []
    for task in network.config.data_schema.task_names:
        graph.zero_grad(set_to_none=True)
        task_loss(network, outputs, batch, task).backward(retain_graph=True)
        flat.append(
            torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
        )
    jacobian_TP = torch.stack(flat).double()
    return jacobian_TP @ jacobian_TP.T


def assert_same(found_TT: Tensor, expected_TT: Tensor) -> None:
    size_T = expected_TT.diagonal().sqrt()
    assert size_T.min() > 0
    assert float(((found_TT - expected_TT).abs() / (size_T[:, None] * size_T)).max()) <= 1e-6


MODELS: dict[str, dict[str, Any]] = {
    "single_task": {"name": "single_task"},
    "shared_bottom": {"name": "shared_bottom"},
    "mmoe": {"name": "mmoe", "num_experts": 5},
    "ple": {"name": "ple"},
}


@pytest.mark.parametrize("model", MODELS)
def test_equals_dense_autograd(model: str, settings: dict[str, Any], log_table: pa.Table, encoder: Encoder) -> None:
    settings["model"] = MODELS[model]
    network = Network(ExperimentConfig.model_validate(settings), encoder, torch.device("cpu"))
    batch = encode_batch(encoder, log_table.slice(0, 59))
    assert_same(found_gram(network, batch), dense_oracle(network, batch))


@hypothesis_settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(
    histories=st.lists(
        st.none() | st.lists(st.sampled_from(["i1", "i2", "i3", "never seen"]), max_size=6), min_size=2, max_size=6
    ),
    item=st.sampled_from(["i1", "i2", None]),
)
def test_repeated_missing_and_empty_lists(
    histories: list[list[str] | None], item: str | None, config: ExperimentConfig, encoder: Encoder, log_table: pa.Table
) -> None:
    rows = log_table.slice(0, len(histories)).to_pydict()
    rows["history"] = pa.array(histories, pa.list_(pa.string()))
    rows["item_id"] = pa.array([item] * len(histories), pa.string())
    rows["click"], rows["buy"] = [1] * len(histories), list(np.arange(len(histories)) % 2)
    rows["spend"] = [float(place) for place in range(len(histories))]
    network = Network(config, encoder, torch.device("cpu"))
    batch = encode_batch(encoder, pa.table(rows))
    assert_same(found_gram(network, batch), dense_oracle(network, batch))


def test_ids_of_one_table_add_up_before_the_product(settings: dict[str, Any]) -> None:
    """By hand: one row looks the same id up by two features, twice by one of them."""
    settings["schema"] = {
        "embedding_dim": 4,
        "tables": {"items": {"encoding": {"kind": "vocabulary", "min_count": 1}}},
        "features": [
            {"name": "item", "side": "item", "kind": "categorical", "table": "items"},
            {"name": "seen", "side": "user", "kind": "categorical_list", "table": "items", "pooling": "mean"},
        ],
        "tasks": [{"name": "a", "label": "a"}, {"name": "b", "label": "b"}],
    }
    del settings["fusion"]
    config = ExperimentConfig.model_validate(settings)
    rows = pa.table({"item": ["x"], "seen": [["x", "x", "y", "z"]], "a": [1], "b": [0]})
    encoder = Encoder.fit(config.data_schema, [rows])
    network = Network(config, encoder, torch.device("cpu"))
    encoded = encoder.encode(rows)
    gradients_TBD = torch.tensor([[[4.0, 0, 0, 0, 1, 0, 0, 0]], [[0, 4.0, 0, 0, 2, 0, 0, 0]]])  # [seen, item] columns
    # Rows of the table for task a: x (1 + 4/2, 0), y and z (4/4, 0); for task b: x (2, 4/2), y and z (0, 4/4).
    expected_TT = torch.tensor([[9.0 + 2.0, 6.0], [6.0, 8.0 + 2.0]], dtype=torch.float64)
    torch.testing.assert_close(table_gram(network.embedding, encoded, gradients_TBD), expected_TT)


def test_representation_flattens_the_batch() -> None:
    gradients_TBD = torch.tensor([[[1.0, 0.0], [2.0, 0.0]], [[3.0, 0.0], [-1.0, 5.0]]])
    expected_TT = torch.tensor([[5.0, 1.0], [1.0, 35.0]], dtype=torch.float64)
    torch.testing.assert_close(representation_gram(gradients_TBD), expected_TT)


def test_dense_gram_adds_over_tensors() -> None:
    gradients = [[torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])], [torch.tensor([0.0, 1.0]), torch.tensor([[-1.0]])]]
    assert dense_gram(gradients).tolist() == [[14.0, -1.0], [-1.0, 2.0]]


def test_no_embedded_feature(settings: dict[str, Any]) -> None:
    settings["schema"] = {
        "features": [{"name": "x", "side": "item", "kind": "numeric"}],
        "tasks": [{"name": "a", "label": "a"}, {"name": "b", "label": "b"}],
    }
    del settings["fusion"]
    config = ExperimentConfig.model_validate(settings)
    rows = pa.table({"x": [1.0, 2.0, 5.0], "a": [1, 0, 1], "b": [0, 1, 1]})
    encoder = Encoder.fit(config.data_schema, [rows])
    network = Network(config, encoder, torch.device("cpu"))
    batch = encode_batch(encoder, rows)
    assert_same(found_gram(network, batch), dense_oracle(network, batch))


def test_a_table_that_no_row_looks_up_adds_nothing(
    settings: dict[str, Any], encoder: Encoder, log_table: pa.Table
) -> None:
    rows = log_table.slice(0, 7)
    rows = rows.set_column(rows.column_names.index("tags"), "tags", pa.array([[]] * 7, pa.list_(pa.string())))
    network = Network(ExperimentConfig.model_validate(settings), encoder, torch.device("cpu"))
    batch = encode_batch(encoder, rows)
    assert network.embedding.lengths(batch.encoded)[network.embedding.feature_names.index("tags")].sum() == 0
    assert_same(found_gram(network, batch), dense_oracle(network, batch))


def peak_bytes(settings: dict[str, Any], num_buckets: int, num_rows: int) -> int:
    """Held by tensors while the tables' Gram is taken. The same tags are looked up, however large their table is."""
    settings["schema"]["features"] = [
        {"name": "tags", "side": "item", "kind": "categorical_list", "pooling": "mean",
         "encoding": {"kind": "hash", "num_buckets": num_buckets}}
    ]  # fmt: skip
    schema = ExperimentConfig.model_validate(settings).data_schema
    encoder = Encoder(schema, {}, {})
    embedding = EmbeddingLayer(schema, encoder.num_embeddings, torch.device("meta"))
    tags = [[f"tag {row} {place}" for place in range(5)] for row in range(num_rows)]
    encoded = encoder.encode(pa.table({"tags": tags}))
    with MemTracker() as tracker:
        table_gram(embedding, encoded, torch.randn(3, num_rows, embedding.output_dim))
    return int(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])


def test_memory_is_in_proportion_to_the_batch_not_to_the_tables(settings: dict[str, Any]) -> None:
    settings["schema"] = {"tasks": settings["schema"]["tasks"], "embedding_dim": 16}
    del settings["fusion"]
    small, large = (peak_bytes(settings, num_buckets, num_rows=211) for num_buckets in (10**7, 10**9))
    assert large == pytest.approx(small, rel=0.001)  # a few tags more collide in the smaller table
    assert large < 10**6
    twice = peak_bytes(settings, 10**9, num_rows=422)
    assert twice == pytest.approx(2 * large, rel=0.001)
