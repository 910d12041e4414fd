"""The peers of the serving benchmark serve our weights and read our rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks.peers.ranker import LAYOUT, TABLE_ROWS, NaiveRanker
from benchmarks.peers.torch_scorer import TorchScorer
from benchmarks.support.naive_network import write_naive_network
from feature_store import Column, ViewSchema, parse_store
from ranker.encoded import SideTensors
from ranker.models import MMoE, build_architecture
from ranker.schema import NumericFeature, Schema, embedded, table_name
from ranker.scoring import ScoringGraph

# Shapes: L = candidates, F = categories, N = numbers, T = tasks

_SIDES = {"u0": "user", "un0": "user", "c0": "context", "cn0": "context", "i0": "item", "i1": "item", "in0": "item"}
_ROWS = {"u0": 5, "c0": 7, "i0": 11, "i1": 13}


def _schema() -> Schema:
    kinds = [{"kind": "categorical"} if name in _ROWS else {"kind": "numeric", "transforms": []} for name in _SIDES]
    features = [{"name": name, "side": side} | kind for (name, side), kind in zip(_SIDES.items(), kinds, strict=True)]
    tasks = [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "buy"}]
    return Schema.model_validate({"embedding_dim": 4, "features": features, "tasks": tasks})


def test_the_naive_network_gives_the_probabilities_of_ours(tmp_path: Path) -> None:
    schema = _schema()
    config = MMoE.Config(num_experts=3, expert_dims=(24, 17), tower_dims=(9,))
    architecture = build_architecture(config, schema)
    tables = {name: torch.randn(rows, 4) for name, rows in _ROWS.items()}
    state = {f"tables/{name}": table for name, table in tables.items()}
    state |= {f"architecture/{name}": tensor for name, tensor in architecture.state_dict().items()}
    write_naive_network(tmp_path, schema, config, state)
    num_rows = 19
    ids = {name: torch.randint(rows, (num_rows,)) for name, rows in _ROWS.items()}
    numbers = {name: torch.randn(num_rows) for name in _SIDES if name not in _ROWS}
    naive_LT = TorchScorer(tmp_path)(
        np.stack([ids[name].numpy() for name in ("u0", "c0", "i0", "i1")], axis=1),
        np.stack([numbers[name].numpy() for name in ("un0", "cn0", "in0")], axis=1),
    )
    sides = [_tensors(schema, side, ids, numbers) for side in ("request", "item")]
    graph = ScoringGraph(schema, tables, architecture).eval()
    logits = graph(*sides[0], *sides[1], torch.arange(num_rows))
    ours_LT = torch.stack([logits[task].sigmoid() for task in schema.task_names], dim=1).detach().numpy()
    assert naive_LT == pytest.approx(ours_LT, abs=1e-6)


def _tensors(schema: Schema, side: Any, ids: dict[str, torch.Tensor], numbers: dict[str, torch.Tensor]) -> SideTensors:
    features = schema.side_features(side)
    flat = torch.cat([ids[table_name(feature)] for feature in features if embedded(feature)])
    plain = [numbers[feature.name] for feature in features if isinstance(feature, NumericFeature)]
    return SideTensors(flat, torch.ones_like(flat), torch.stack(plain, dim=1))


def _score(ids_LF: npt.NDArray[np.int64], numbers_LN: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Probabilities that show every input: the sum of rows, and of numbers."""
    return np.stack([ids_LF.sum(axis=1), numbers_LN.sum(axis=1)], axis=1).astype(np.float32)


@pytest.fixture
async def ranker(tmp_path: Path) -> NaiveRanker:
    """Two items and a user in an embedded store; table rows are the value and 100, 200, 300 or 400."""
    views = {
        "user": ViewSchema("user", (Column("u0", "int"), Column("un0", "float"))),
        "item": ViewSchema("item", (Column("i0", "int"), Column("i1", "int"), Column("in0", "float"))),
    }
    async with parse_store(f"lmdb:{tmp_path / 'features'}?map_size_bytes={2**22}").build() as store:
        for view in views.values():
            await store.create_view(view)
        await store.put_many("user", [("u7", {"u0": 3, "un0": 0.25}, None)])
        await store.put_many(
            "item", [("a", {"i0": 1, "i1": 2, "in0": 0.5}, None), ("b", {"i0": 5, "i1": 6, "in0": 4.0}, None)]
        )
    layout = {
        "features": str(tmp_path / "features"),
        "user": views["user"].names,
        "item": views["item"].names,
        "context": ["c0", "cn0"],
        "num_categories": {"user": 1, "context": 1, "item": 2},
        "weights": {"ctr": 1.0, "ctcvr": 2.0},
    }
    (tmp_path / LAYOUT).write_text(json.dumps(layout), encoding="utf-8")
    np.save(tmp_path / TABLE_ROWS, np.arange(10) + 100 * np.arange(1, 5)[:, None])
    return NaiveRanker(tmp_path, _score)


@pytest.mark.parametrize("with_features", [False, True])
def test_a_peer_ranks_by_what_the_store_or_the_body_says(ranker: NaiveRanker, with_features: bool) -> None:
    candidates: list[Any] = ["a", "b"]
    if with_features:
        features = {"a": {"i0": 1, "i1": 2, "in0": 0.5}, "b": {"i0": 5, "i1": 6, "in0": 4.0}}
        candidates = [{"item_id": item_id, "features": features[item_id]} for item_id in candidates]
    body = {"user_id": "u7", "context": {"c0": 4, "cn0": 0.125}, "candidates": candidates, "top_k": 2}
    ranking = ranker.rank(body)["ranking"]
    ctr, cvr = 1000 + 3 + 4 + 5 + 6, 0.25 + 0.125 + 4.0
    assert [entry["item_id"] for entry in ranking] == ["b", "a"]
    assert ranking[0]["outputs"] == {"ctr": ctr, "cvr": cvr, "ctcvr": ctr * cvr}
    assert ranking[0]["score"] == ctr + 2 * ctr * cvr
    assert ranker.rank(body | {"top_k": 1})["ranking"] == ranking[:1]
