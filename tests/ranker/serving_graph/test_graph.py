"""The graph that serves gives what the trained network gives: any features, any number of requests and items."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from ranker.encoding import Encoded, Encoder
from ranker.manifest import Precision
from ranker.models import STEM, MMoE, NetworkConfig
from ranker.representation import columns_by_feature
from ranker.schema import Schema
from ranker.scoring import ScoringGraph
from ranker.serving_graph import ServingGraph, bucket_sizes
from ranker.serving_graph.graph import padded_rows
from ranker.torchscript import script

# Widths and sizes are pairwise different, so that no mix-up can go unseen.
FEATURES: dict[str, dict[str, Any]] = {
    "city": {"side": "user", "kind": "categorical", "embedding_dim": 5},
    "seen": {"side": "user", "kind": "categorical_list", "table": "items", "pooling": "mean"},
    "hour": {"side": "context", "kind": "numeric", "missing_indicator": True},
    "item": {"side": "item", "kind": "categorical", "table": "items"},
    "brand": {"side": "item", "kind": "categorical", "embedding_dim": 5},
    "shop": {"side": "item", "kind": "categorical", "embedding_dim": 8},
    "tags": {"side": "item", "kind": "categorical_list", "pooling": "sum", "embedding_dim": 4},
    "price": {"side": "item", "kind": "numeric"},
}
ROWS = pa.table(
    {
        "city": ["a", "b", None, "a", "c", "b", "a"],
        "seen": [["x", "x", "y"], [], None, ["z"], ["y", "z"], ["x"], []],
        "hour": [3.0, None, 5.0, 7.0, 1.0, 0.0, 9.0],
        "item": ["x", "y", "z", "never seen", "x", "y", "x"],
        "brand": ["p", "q", "p", None, "r", "q", "s"],
        "shop": ["m", "n", None, "m", "o", "o", "n"],
        "tags": [["s"], ["t", "t", "s"], [], None, ["s"], ["s", "t"], ["s"]],
        "price": [1.5, 2.5, 3.5, 4.5, 0.5, 1.5, 1.5],
    }
)
ALL = tuple(FEATURES)
PLAIN = ("city", "hour", "item", "brand", "price")
MODELS: dict[str, NetworkConfig] = {
    "mmoe": MMoE.Config(num_experts=3, expert_dims=(9, 8), tower_dims=(6,)),
    "stem": STEM.Config(num_shared_experts=1, num_specific_experts=2, expert_dims=(9,), gate_dims=(7,)),
}
TOLERANCE: dict[Precision, float] = {"fp32": 1e-5, "bf16": 3e-2}


def world(names: tuple[str, ...], model: str) -> tuple[ScoringGraph, Encoder]:
    """A network over some of the features, and its encoder."""
    vocabulary = {"kind": "vocabulary", "min_count": 1}
    features = [{"name": name, **FEATURES[name]} for name in names]
    for feature in features:
        if "table" not in feature and feature["kind"] != "numeric":
            feature["encoding"] = vocabulary
    tables = {"items": {"encoding": vocabulary, "embedding_dim": 3}} if {"seen", "item"} & set(names) else {}
    tasks = [{"name": name, "label": name} for name in ("ctr", "cvr")]
    schema = Schema.model_validate({"tables": tables, "features": features, "tasks": tasks})
    encoder = Encoder.fit(schema, [ROWS])
    num_sets = MODELS[model].num_embedding_sets(schema.task_names)
    widths = {**dict.fromkeys(("city", "brand"), 5), "items": 3, "shop": 8, "tags": 4}
    weights = {name: torch.randn(rows, widths[name] * num_sets) for name, rows in encoder.num_embeddings.items()}
    width = sum(map(len, columns_by_feature(schema).values()))
    architecture = MODELS[model].build(width, schema.task_names).eval()
    return ScoringGraph(schema, weights, architecture, num_sets).eval(), encoder


def score(graph: torch.nn.Module, encoded: Encoded, index_L: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        outputs: dict[str, Tensor] = graph(*encoded.request, *encoded.item, index_L)
    return outputs


def assert_same(graph: ScoringGraph, served: torch.nn.Module, encoded: Encoded, index_L: Tensor, atol: float) -> None:
    expected = score(graph, encoded, index_L)
    found = score(served, encoded, index_L)
    assert list(found) == list(expected)
    for task, expected_L in expected.items():
        assert found[task].shape == expected_L.shape
        torch.testing.assert_close(found[task], expected_L, rtol=0, atol=atol)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "names",
    [
        ALL,
        PLAIN,
        ("city", "shop", "price"),
        ("city", "seen", "hour"),
        ("item", "tags", "price"),
        ("price",),
        ("seen", "price"),
    ],
    ids="-".join,
)
def test_any_features(names: tuple[str, ...], model: str, precision: Precision) -> None:
    graph, encoder = world(names, model)
    served = ServingGraph(graph, precision)
    for rows in (ROWS, ROWS.slice(2, 1), ROWS.slice(0, 0)):
        assert_same(graph, served, encoder.encode(rows), torch.arange(rows.num_rows), TOLERANCE[precision])


@pytest.fixture(scope="module")
def scripted() -> tuple[ScoringGraph, torch.nn.Module, Encoder]:
    torch.manual_seed(0)
    graph, encoder = world(ALL, "mmoe")
    return graph, script(ServingGraph(graph)), encoder


@given(requests=st.integers(1, 7), items=st.lists(st.integers(0, 6), max_size=150), data=st.data())
def test_any_requests_and_items(
    scripted: tuple[ScoringGraph, torch.nn.Module, Encoder], requests: int, items: list[int], data: st.DataObject
) -> None:
    graph, served, encoder = scripted
    index = data.draw(st.lists(st.integers(0, requests - 1), min_size=len(items), max_size=len(items)))
    sides = (
        encoder.encode_side(ROWS.slice(0, requests), "request"),
        encoder.encode_side(ROWS.take(pa.array(items, pa.int64())), "item"),
    )
    assert_same(graph, served, Encoded(*sides), torch.tensor(index, dtype=torch.int64), 1e-5)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_equal_candidates_tie(precision: Precision) -> None:
    graph, encoder = world(ALL, "mmoe")
    served = script(ServingGraph(graph, precision))
    request = encoder.encode_side(ROWS.slice(4, 1), "request")
    for num_rows in (2, 63, 64, 65, 131):
        item = encoder.encode_side(ROWS.take([1] * num_rows), "item")
        scores = score(served, Encoded(request, item), torch.zeros(num_rows, dtype=torch.int64))
        assert all(bool((scores_L == scores_L[0]).all()) for scores_L in scores.values())


def test_tables_of_one_width_lie_in_one_tensor() -> None:
    graph, encoder = world(ALL, "mmoe")
    served = ServingGraph(graph)
    sizes = encoder.num_embeddings
    found = {tuple(parameter.shape) for parameter in served.parameters()}
    assert found == {(sizes["items"], 3), (sizes["tags"], 4), (sizes["shop"], 8), (sizes["city"] + sizes["brand"], 5)}


def test_buckets() -> None:
    sizes = bucket_sizes(10_000)
    assert sizes[:3] == [64, 128, 192]
    assert sizes[-1] == 10_240
    assert sorted({padded_rows(num_rows) for num_rows in range(1, 10_001)}) == sizes
    assert all(padded_rows(size) == size for size in sizes)
