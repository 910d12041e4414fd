"""The scoring graph: the representation of training, one request against many items, scripted or not."""

from __future__ import annotations

import warnings

import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from ranker.encoding import Encoded, Encoder
from ranker.layers.embedding import TABLE_PREFIX, EmbeddingLayer
from ranker.models import MMoE
from ranker.schema import Schema
from ranker.scoring import Bag, ScoringGraph, pad_rows

ROWS = pa.table(
    {
        "city": ["a", "b", None, "a", "c", "b", "a"],
        "seen": [["x", "x", "y"], [], None, ["z"], ["y", "z"], ["x"], []],
        "hour": [3.0, None, 5.0, 7.0, 1.0, 0.0, 9.0],
        "item": ["x", "y", "z", "never seen", "x", "y", "x"],
        "tags": [["s"], ["t", "t", "s"], [], None, ["s"], ["s", "t"], ["s"]],
        "price": [1.5, 2.5, 3.5, 4.5, 0.5, 1.5, 1.5],
    }
)


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema.model_validate(
        {
            "tables": {"items": {"encoding": {"kind": "vocabulary", "min_count": 1}, "embedding_dim": 3}},
            "features": [
                {"name": "item", "side": "item", "kind": "categorical", "table": "items"},
                {"name": "hour", "side": "context", "kind": "numeric", "missing_indicator": True},
                {"name": "city", "side": "user", "kind": "categorical", "embedding_dim": 5},
                {"name": "price", "side": "item", "kind": "numeric"},
                {"name": "seen", "side": "user", "kind": "categorical_list", "table": "items", "pooling": "mean"},
                {
                    "name": "tags",
                    "side": "item",
                    "kind": "categorical_list",
                    "pooling": "sum",
                    "embedding_dim": 4,
                    "encoding": {"kind": "hash", "num_buckets": 6},
                },
            ],
            "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "buy"}],
        }
    )


@pytest.fixture(scope="module")
def encoder(schema: Schema) -> Encoder:
    return Encoder.fit(schema, [ROWS])


@pytest.fixture
def layer(schema: Schema, encoder: Encoder) -> EmbeddingLayer:
    return EmbeddingLayer(schema, encoder.num_embeddings)


@pytest.fixture
def graph(schema: Schema, layer: EmbeddingLayer) -> ScoringGraph:
    assert layer.collection is not None
    prefix = f"embedding_bags.{TABLE_PREFIX}"
    tables = {
        name.removeprefix(prefix).removesuffix(".weight"): weight
        for name, weight in layer.collection.state_dict().items()
    }
    architecture = MMoE.Config(num_experts=3, expert_dims=(8,), tower_dims=(6,)).build(layer.width, schema.task_names)
    return ScoringGraph(schema, tables, architecture).eval()


def scripted(graph: ScoringGraph) -> torch.jit.ScriptModule:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript as a whole
        module: torch.jit.ScriptModule = torch.jit.script(graph)
    return module


def score(graph: nn.Module, encoded: Encoded, index_L: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        outputs: dict[str, Tensor] = graph(*encoded.request, *encoded.item, index_L)
    return outputs


def test_same_as_the_layer_that_trains(graph: ScoringGraph, layer: EmbeddingLayer, encoder: Encoder) -> None:
    encoded = encoder.encode(ROWS)
    with torch.inference_mode():
        expected = graph.architecture(layer(encoded))
    for task, found in score(graph, encoded, torch.arange(7)).items():
        torch.testing.assert_close(found, expected[task], rtol=0, atol=1e-6)


def test_one_request_against_many_items(graph: ScoringGraph, encoder: Encoder) -> None:
    """The request's part computed once equals the request's columns repeated beside every item."""
    index_L = torch.tensor([1, 1, 0, 2, 0, 2, 2])
    few = Encoded(
        encoder.encode_side(ROWS.take(pa.array([4, 0, 6])), "request"),
        encoder.encode_side(ROWS, "item"),
    )
    whole = Encoded(
        encoder.encode_side(ROWS.take(pa.array([[4, 0, 6][place] for place in index_L.tolist()])), "request"),
        few.item,
    )
    expected = score(graph, whole, torch.arange(7))
    for task, found in score(graph, few, index_L).items():
        torch.testing.assert_close(found, expected[task], rtol=0, atol=1e-6)


def test_scripted_is_eager(graph: ScoringGraph, encoder: Encoder) -> None:
    module = scripted(graph)
    for rows in (ROWS, ROWS.slice(2, 1), ROWS.slice(0, 0)):
        encoded, index_L = encoder.encode(rows), torch.arange(rows.num_rows)
        found, expected = score(module, encoded, index_L), score(graph, encoded, index_L)
        assert list(found) == list(expected) == ["ctr", "cvr"]
        for task, values in expected.items():
            assert values.shape == (rows.num_rows,)
            torch.testing.assert_close(found[task], values, rtol=0, atol=1e-6)


def test_rows_do_not_depend_on_their_neighbours(graph: ScoringGraph, encoder: Encoder) -> None:
    alone = [score(graph, encoder.encode(ROWS.slice(row, 1)), torch.arange(1))["ctr"] for row in range(7)]
    together = score(graph, encoder.encode(ROWS), torch.arange(7))["ctr"]
    torch.testing.assert_close(torch.cat(alone), together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("num_rows", [2, 63, 64, 65, 131])
def test_equal_candidates_tie_exactly(num_rows: int, graph: ScoringGraph, encoder: Encoder) -> None:
    encoded = encoder.encode(ROWS.take(pa.array([0] * num_rows)))
    scores_L = score(graph, encoded, torch.arange(num_rows))["cvr"]
    assert bool((scores_L == scores_L[0]).all())


def test_a_shared_table_is_stored_once(graph: ScoringGraph) -> None:
    storages = {parameter.data_ptr() for parameter in graph.request.parameters()}
    shared = storages & {parameter.data_ptr() for parameter in graph.item.parameters()}
    assert len(shared) == 1


def test_pad_rows() -> None:
    for num_rows, padded in ((0, 0), (1, 4), (4, 4), (5, 8)):
        x_BD = pad_rows(torch.ones(num_rows, 3), block=4)
        assert x_BD.shape == (padded, 3)
        assert x_BD.sum() == num_rows * 3


@pytest.mark.parametrize(
    ("pooling", "expected"), [("sum", [[3.0, 6.0], [0.0, 0.0]]), ("mean", [[1.5, 3.0], [0.0, 0.0]])]
)
def test_bag(pooling: str, expected: list[list[float]]) -> None:
    weight = torch.tensor([[1.0, 2.0], [2.0, 4.0]])
    assert Bag(weight, pooling)(torch.tensor([0, 1]), torch.tensor([2, 0])).tolist() == expected
    assert Bag(weight, None)(torch.tensor([1, 0]), torch.tensor([1, 1])).tolist() == [[2.0, 4.0], [1.0, 2.0]]
