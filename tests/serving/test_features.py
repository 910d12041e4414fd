"""Stores that are away: answers go on, and say so. Plans: which column comes from where."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from feature_store import FeatureColumns, FeatureRow, RedisStore, StoreUnavailable, ViewSchema
from ranker.bundle import Bundle
from ranker.schema import Schema
from serving.breaker import Breaker
from serving.feature_plan import FeaturePlan, no_items
from serving.features import FeatureSource, Stored, request_row
from serving.items.item_side import item_columns
from serving.known_users import KnownUsers
from serving.wanted import Wanted
from tests.serving.conftest import CANDIDATES, CONTEXT, SCHEMA, World, eventually, offline

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}
AWAY = ["user_features_unavailable", "item_features_unavailable"]


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_store_that_is_away_degrades_the_answer(world: World, bundle: Bundle) -> None:
    store = RedisStore.Config(url=f"redis://127.0.0.1:{free_port()}/0", num_retries=0)
    async with world.serve(store=store) as client:
        response = await client.post("/rank", json=BODY)
        assert response.status_code == 200
        answer = response.json()
        assert answer["degraded"] == AWAY
        assert answer["missing"] == {"user": True, "items": len(CANDIDATES)}
        nobody = [f"gone{n}" for n in range(3)]
        answer = (await client.post("/rank", json={"context": CONTEXT, "candidates": nobody})).json()
        expected = dict(zip(nobody, offline(bundle, None, CONTEXT, nobody)["ctr"], strict=True))
        assert {e["item_id"]: e["outputs"]["ctr"] for e in answer["ranking"]} == pytest.approx(expected, abs=1e-6)
        readiness = await client.get("/readyz")
        assert readiness.status_code == 200
        assert "feature store" in readiness.json()["warnings"][0]
        metrics = (await client.get("/metrics")).text
        assert 'ranker_degraded_total{reason="item_features_unavailable"} 2.0' in metrics


async def test_a_store_that_comes_back_is_used_again(world: World) -> None:
    features, aside = world.folder / "features", world.folder / "aside"
    features.rename(aside)
    async with world.serve() as client:
        assert (await client.post("/rank", json=BODY)).json()["degraded"] == AWAY
        shutil.copytree(aside, features)

        async def well() -> bool:
            return bool((await client.post("/rank", json=BODY)).json().get("degraded") == [])

        await eventually(well)


def source(store: Any) -> FeatureSource:
    """A feature source on a store that does what a test says."""
    breaker = Breaker(Breaker.Config(failures=3, pause_seconds=3600), lambda _: None)
    return FeatureSource(store, 0.05, breaker, KnownUsers(2))


class Slow:
    """A store that never answers."""

    async def schema(self, view: str) -> ViewSchema | None:
        """Hang."""
        await asyncio.sleep(3600)
        return None

    async def get_many(self, view: str, ids: Sequence[str | int], **_: object) -> list[FeatureRow | None]:
        """Hang."""
        await asyncio.sleep(3600)
        return []

    async def get_columns(
        self, view: str, ids: Sequence[str | int], names: Sequence[str], **_: object
    ) -> FeatureColumns:
        """Give the rows as columns."""
        rows = await self.get_many(view, ids)
        values = {name: [None if row is None else row.values.get(name) for row in rows] for name in names}
        return FeatureColumns(values, [row is not None for row in rows])

    async def ping(self) -> None:
        """Hang."""
        await asyncio.sleep(3600)


class Half(Slow):
    """A store that has users, and no items just now."""

    async def get_many(self, view: str, ids: Sequence[str | int], **_: object) -> list[FeatureRow | None]:
        """Answer for users."""
        if view == "item":
            raise StoreUnavailable("away")
        return [FeatureRow({"age": 30.0, "segment": "new"}, None) for _ in ids]


@pytest.fixture
def plan() -> FeaturePlan:
    """The plan of the usual schema."""
    return FeaturePlan.of(Schema.model_validate(SCHEMA))


async def test_a_store_that_hangs_counts_as_away(plan: FeaturePlan) -> None:
    slow = source(Slow())
    stored = await slow.fetch(plan, Wanted("u1", ["i1", "i2"]))
    assert stored == Stored(None, no_items(plan, 2), tuple(AWAY))
    assert await slow.problem(plan) is None
    assert "did not answer within" in str(await slow.trouble())


async def test_each_view_degrades_by_itself(plan: FeaturePlan) -> None:
    stored = await source(Half()).fetch(plan, Wanted("u1", ["i1"]))
    assert stored.degraded == ("item_features_unavailable",)
    assert stored.user is not None
    anonymous = await source(Half()).fetch(plan, Wanted(None, ["i1"]))
    assert anonymous.user is None


async def test_a_store_that_fails_again_and_again_is_left_alone(plan: FeaturePlan) -> None:
    class Counting(Slow):
        asked = 0

        async def get_many(self, view: str, ids: Sequence[str | int], **_: object) -> list[FeatureRow | None]:
            """Fail."""
            self.asked += 1
            raise StoreUnavailable("away")

    store = Counting()
    away = source(store)
    for _ in range(9):
        assert (await away.fetch(plan, Wanted("u1", ["i1"]))).degraded == tuple(AWAY)
    assert store.asked <= 4  # both views of the second request ask at the same time


async def test_a_known_user_keeps_the_last_features(plan: FeaturePlan) -> None:
    class Leaving(Slow):
        there = True

        async def get_many(self, view: str, ids: Sequence[str | int], **_: object) -> list[FeatureRow | None]:
            """Answer for users while it is there."""
            if not self.there:
                raise StoreUnavailable("away")
            return [FeatureRow({"age": 30.0, "segment": "new"}, None) if one == "u1" else None for one in ids]

    store = Leaving()
    leaving = source(store)
    for user in ("u1", "u2"):
        await leaving.fetch(plan, Wanted(user, ["i1"]))
    store.there = False
    stale = await leaving.fetch(plan, Wanted("u1", ["i1"]))
    assert stale.user == FeatureRow({"age": 30.0, "segment": "new"}, None)
    assert stale.degraded == ("user_features_stale", "item_features_unavailable")
    unknown = await leaving.fetch(plan, Wanted("u2", ["i1"]))
    assert (unknown.user, unknown.degraded) == (None, tuple(AWAY))


async def test_the_store_is_asked_only_for_what_candidates_do_not_bring(plan: FeaturePlan) -> None:
    class Curious(Slow):
        asked: list[str | int]

        async def get_many(self, view: str, ids: Sequence[str | int], **_: object) -> list[FeatureRow | None]:
            """Answer for each second item."""
            self.asked = [*ids]
            return [FeatureRow({"price": 2.5, "brand": 1}, None) if n % 2 else None for n, _ in enumerate(ids)]

    store, whole = Curious(), {"price": 1.0, "brand": 2, "tags": ["t0"]}
    wishes = Wanted(None, ["a", "b", 7, "d"], {}, {1: whole, 3: {"price": 5.0}})
    stored = await source(store).fetch(plan, wishes)
    assert store.asked == ["a", 7, "d"]
    expected: dict[str, list[Any]] = {
        "price": [None, None, 2.5, None],
        "brand": [None, None, 1, None],
        "tags": [None] * 4,
    }
    assert stored == Stored(None, FeatureColumns(expected, [False, False, True, False]))
    assert isinstance(stored.items, FeatureColumns)
    columns = item_columns(plan, wishes, stored.items)
    assert columns["price"] == [None, 1.0, 2.5, 5.0]
    assert columns["tags"] == [None, ["t0"], None, None]
    store.asked = []
    await source(store).fetch(plan, Wanted(None, ["a", "b"], {}, {0: whole, 1: whole}))
    assert store.asked == []


def test_a_plan_says_where_each_column_comes_from(plan: FeaturePlan) -> None:
    assert dict(plan.user) == {"age": "number", "segment": "category"}
    assert dict(plan.item) == {"price": "number", "brand": "category", "tags": "list"}
    assert dict(plan.context) == {"hour": "number", "device": "category", "recent": "list"}
    assert (plan.user_id, plan.item_id) == (("user_id",), ("item_id",))


def test_a_column_that_several_features_read_takes_what_all_of_them_read() -> None:
    features = [
        {"name": "hour_value", "source": "hour", "side": "context", "kind": "numeric"},
        {"name": "hour_id", "source": "hour", "side": "context", "kind": "categorical"},
        {"name": "price", "side": "item", "kind": "categorical"},
        {"name": "price_value", "source": "price", "side": "item", "kind": "numeric"},
    ]
    plan = FeaturePlan.of(Schema.model_validate({"features": features, "tasks": [{"name": "ctr", "label": "click"}]}))
    assert dict(plan.context) == {"hour": "number"}
    assert dict(plan.item) == {"price": "number"}


def test_columns_without_features_still_have_their_rows() -> None:
    features = [{"name": "price", "side": "item", "kind": "numeric"}]
    plan = FeaturePlan.of(Schema.model_validate({"features": features, "tasks": [{"name": "ctr", "label": "click"}]}))
    wanted, stored = Wanted(None, ["a", "b"]), Stored(None, no_items(plan, 2))
    assert request_row(plan, wanted, stored) == {}
    assert item_columns(plan, wanted, no_items(plan, 2)) == {"price": (None, None)}


def test_what_a_candidate_brings_replaces_what_the_store_has(plan: FeaturePlan) -> None:
    old = FeatureColumns({"price": [2.0, 2.0], "brand": [1, 1], "tags": [None, None]}, [True, True])
    wanted = Wanted("u1", ["a", 7], {"hour": 1}, {1: {"tags": [5, 5.0, "x"]}})
    stored = Stored(FeatureRow({"age": 3.0}, None), old)
    items = item_columns(plan, wanted, old)
    assert items == {"price": [2.0, 2.0], "brand": [1, 1], "tags": [None, [5, 5.0, "x"]], "item_id": ["a", 7]}
    request = request_row(plan, wanted, stored)
    assert request == {
        "age": 3.0,
        "segment": None,
        "hour": 1,
        "device": None,
        "recent": None,
        "user_id": "u1",
    }
