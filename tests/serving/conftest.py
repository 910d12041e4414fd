"""A small world to serve in: a real bundle in a real registry, features in a real store, and a client."""

from __future__ import annotations

import asyncio
import shutil
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import torch
from fastapi import FastAPI
from torch import Tensor, nn

from feature_store import Column, FeatureStore, ViewSchema, parse_store
from ranker.bundle import Bundle
from ranker.bundle_writer import write_bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder, num_numeric_inputs
from ranker.fusion import FusionPolicy, Term
from ranker.registry import Registry
from ranker.schema import Schema, embedded, table_name
from ranker.scoring import ScoringGraph
from serving import Settings, create_app

# Shapes: L = item rows, D = width of the representation

TOKEN = "a-token-for-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
NUM_USERS, NUM_ITEMS, NUM_GOLDEN = 5, 17, 23
DIM = 3

VOCABULARY = {"kind": "vocabulary", "min_count": 1}


def hashed(num_buckets: int) -> dict[str, Any]:
    """A stateless encoding."""
    return {"kind": "hash", "num_buckets": num_buckets}


SCHEMA: dict[str, Any] = {
    "ids": {"user": "user_id", "item": "item_id"},
    "embedding_dim": DIM,
    "features": [
        {"name": "user", "source": "user_id", "side": "user", "kind": "categorical", "encoding": hashed(11)},
        {"name": "age", "side": "user", "kind": "numeric", "missing_indicator": True},
        {"name": "segment", "side": "user", "kind": "categorical", "encoding": VOCABULARY},
        {"name": "hour", "side": "context", "kind": "numeric"},
        {"name": "device", "side": "context", "kind": "categorical", "encoding": VOCABULARY},
        {"name": "recent", "side": "context", "kind": "categorical_list", "encoding": hashed(7)},
        {"name": "item", "source": "item_id", "side": "item", "kind": "categorical", "encoding": hashed(19)},
        {"name": "price", "side": "item", "kind": "numeric", "transforms": ["log1p", "standardize"]},
        {"name": "brand", "side": "item", "kind": "categorical", "encoding": VOCABULARY},
        {"name": "tags", "side": "item", "kind": "categorical_list", "encoding": VOCABULARY},
    ],
    "tasks": [
        {"name": "ctr", "label": "click"},
        {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
        {"name": "dwell", "label": "seconds", "kind": "regression"},
    ],
    "outputs": {"ctcvr": "ctr * cvr"},
}  # fmt: skip

USERS = {
    f"u{n}": {"age": None if n == 3 else 20.0 + 7 * n, "segment": ["new", "loyal", None][n % 3]}
    for n in range(NUM_USERS)
}
ITEMS = {
    f"i{n}": {"price": None if n == 4 else 3.0 + 2.5 * n, "brand": n % 4, "tags": [f"t{k}" for k in range(n % 5)]}
    for n in range(NUM_ITEMS)
}
USER_VIEW = ViewSchema("user", (Column("age", "float"), Column("segment", "string")))
ITEM_VIEW = ViewSchema("item", (Column("price", "float"), Column("brand", "int"), Column("tags", "string_list")))
CONTEXT = {"hour": 21, "device": "ios", "recent": ["i2", "i5"]}
CANDIDATES = list(ITEMS)

FUSION = FusionPolicy(
    terms=(
        Term(output="ctr", weight=0.3),
        Term(output="ctcvr", weight=2.0, max_weight=5.0),
        Term(output="dwell", weight=0.01),
    )
)


class Linear(nn.Module):
    """One linear head per task."""

    def __init__(self, width: int, task_names: tuple[str, ...]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({task: nn.Linear(width, 1) for task in task_names})

    def forward(self, x_LD: Tensor) -> dict[str, Tensor]:
        """Raw output [L] by task."""
        outputs: dict[str, Tensor] = {}
        for task, head in self.heads.items():
            outputs[task] = head(x_LD).squeeze(1)
        return outputs


def impressions(num_rows: int = NUM_GOLDEN) -> pa.Table:
    """Raw rows as a log has them: users and items with their features, and a context."""
    users, items = list(USERS), list(ITEMS)
    rows = [
        {
            "user_id": users[n % NUM_USERS],
            **USERS[users[n % NUM_USERS]],
            "hour": n % 24,
            "device": ["ios", "web", None][n % 3],
            "recent": [items[n % 7], items[n % 11]],
            "item_id": items[n % NUM_ITEMS],
            **ITEMS[items[n % NUM_ITEMS]],
        }
        for n in range(num_rows)
    ]
    return pa.Table.from_pylist(rows)


def make_bundle(path: Path, version: str, seed: int = 1, schema: Schema | None = None, **changes: Any) -> Bundle:
    """A bundle with random weights; equal seeds make equal weights."""
    schema = schema or Schema.model_validate(SCHEMA)
    rows = changes.pop("rows", None) or impressions()
    encoder = Encoder.fit(schema, [rows])
    generator = torch.Generator().manual_seed(seed)
    sizes = encoder.num_embeddings
    tables = {name: torch.randn(rows, DIM, generator=generator) for name, rows in sizes.items()}
    width = DIM * sum(embedded(f) and table_name(f) in tables for f in schema.features)
    width += num_numeric_inputs(schema, "request") + num_numeric_inputs(schema, "item")
    architecture = Linear(width, schema.task_names)
    for parameter in architecture.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
    graph = ScoringGraph(schema, tables, architecture).eval()
    request, item = encoder.encode(rows)
    with torch.no_grad():
        raw = graph(*request, *item, torch.arange(rows.num_rows))
    calibration = Calibration.identity(schema)
    outputs = calibration.apply({task: value.double().numpy() for task, value in raw.items()})
    with warnings.catch_warnings():
        # Bundles are TorchScript by design; torch deprecates it in favour of torch.export.
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=DeprecationWarning)
        scripted = torch.jit.script(graph)
    parts: dict[str, Any] = {
        "graph": scripted,
        "schema": schema,
        "encoder": encoder,
        "calibration": calibration,
        "fusion": FUSION,
        "metrics": {},
        "golden_rows": rows,
        "golden_outputs": outputs,
        "data": {"rows": rows.num_rows},
        "version": version,
    }
    return write_bundle(path, **(parts | changes))


async def fill(store: FeatureStore) -> None:
    """Put the users and items of this world into a store."""
    await store.create_view(USER_VIEW)
    await store.create_view(ITEM_VIEW)
    await store.put_many("user", [(key, values, None) for key, values in USERS.items()])
    await store.put_many("item", [(key, values, None) for key, values in ITEMS.items()])


def features_of(user_id: str | None, context: dict[str, Any], item_ids: list[str]) -> dict[str, list[Any]]:
    """Raw columns of a request as a log would have them, one row per candidate."""
    user = {"user_id": user_id, **USERS.get(user_id or "", {"age": None, "segment": None})}
    nothing = {"price": None, "brand": None, "tags": None}
    rows = [
        {**user, **{name: context.get(name) for name in CONTEXT}, "item_id": item_id, **ITEMS.get(item_id, nothing)}
        for item_id in item_ids
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def offline(bundle: Bundle, user_id: str | None, context: dict[str, Any], item_ids: list[str]) -> dict[str, np.ndarray]:
    """Outputs [L] as evaluation computes them: every row a request of its own."""
    return dict(bundle.score_rows(features_of(user_id, context, item_ids)))


@dataclass
class World:
    """One test's registry, store and policy file; `serve` starts a server on them."""

    folder: Path
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def registry(self) -> Registry:
        """The registry; version v1 is current."""
        return Registry(self.folder / "registry")

    @property
    def store_text(self) -> str:
        """The embedded feature store, as the command line names it."""
        return f"lmdb:{self.folder / 'features'}?map_size_bytes={2**26}"

    def settings(self, **changes: Any) -> Settings:
        """Settings of a server in this world; it looks around often."""
        given: dict[str, Any] = {
            "registry": self.folder / "registry",
            "store": parse_store(self.store_text),
            "policies": {"backend": "sqlite", "path": self.folder / "policies.sqlite"},
            "admin_token": TOKEN,
            "item_table": {"enabled": False},  # tests of tables turn it on: building one takes a process
            "poll_seconds": 0.02,
            "policy_poll_seconds": 0.02,
        }
        return Settings(**(given | self.changes | changes))

    @asynccontextmanager
    async def serve(self, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        """A client of a server that runs in this process."""
        async with running(create_app(self.settings(**changes))) as client:
            yield client

    def publish(self, version: str, seed: int = 2, activate: bool = True, **changes: Any) -> None:
        """Publish another bundle."""
        bundle = make_bundle(self.folder / "exports" / version, version, seed, **changes)
        self.registry.publish(bundle.path, activate=activate)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose lifespan runs."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry (v1 current) and a filled embedded store, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    world = World(folder)
    world.publish("v1", seed=1)

    async def materialize() -> None:
        async with parse_store(world.store_text).build() as store:
            await fill(store)

    asyncio.run(materialize())
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path) -> World:
    """A registry with v1 current, and a filled embedded store."""
    shutil.copytree(template, tmp_path / "world")
    return World(tmp_path / "world")


@pytest.fixture
def bundle(world: World) -> Bundle:
    """The bundle v1."""
    return world.registry.load("v1")


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server in this world."""
    async with world.serve() as client:
        yield client


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds; the test's own time limit ends a wait in vain."""
    while not await condition():  # noqa: ASYNC110  # what is waited for happens in a server, not in this test
        await asyncio.sleep(0.01)


Answer = Callable[[str, bytes], httpx.Response]


@pytest.fixture(scope="module")
def answer(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answer]:
    """Posts a body to one server that lives as long as the module; for tests that are not coroutines."""
    folder = tmp_path_factory.mktemp("shared") / "world"
    shutil.copytree(template, folder)
    with asyncio.Runner() as runner:
        serving = World(folder).serve(request_log={"path": folder / "log"})
        client = runner.run(serving.__aenter__())

        def post(path: str, body: bytes) -> httpx.Response:
            return runner.run(client.post(path, content=body))

        yield post
        runner.run(serving.__aexit__(None, None, None))
