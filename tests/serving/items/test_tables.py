"""Item tables in running servers: built once, shared, brought up to date, and never half there."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from feature_store import parse_store
from feature_store.embedded import change_log
from serving.feature_plan import FeaturePlan
from serving.items import ItemSide, ItemTables, StoreItems, StoreSource, tables as item_tables
from serving.metrics import Metrics
from tests.feature_store.servers import memory_only
from tests.serving.conftest import CANDIDATES, CONTEXT, ITEMS, World, eventually, fill, offline
from tests.serving.items.conftest import BODY, Server, children, put, serving, tables


@pytest.mark.parametrize("backend", ["lmdb", "redis"])
async def test_a_changed_item_is_seen_and_a_deleted_one_is_missing(world: World, redis_url: str, backend: str) -> None:
    config = parse_store(f"{redis_url}?key_prefix=tables" if backend == "redis" else world.store_text)
    async with config.build() as store:
        await fill(store)
        async with serving(world, store=config) as client, serving(world, store=config) as second:
            before = await client.ranking()
            await store.put_many("item", [("i3", {**ITEMS["i5"]}, None), ("fresh", {**ITEMS["i6"]}, None)])
            await store.delete_many("item", ["i4"])

            for worker in (client, second):

                async def is_seen(worker: Server = worker) -> bool:
                    return bool((await worker.ranking())["i4"] != before["i4"])

                await eventually(is_seen)
                after = await worker.ranking(candidates=[*CANDIDATES, "fresh"])
                expected = dict(zip(CANDIDATES, offline_with(world, {"i3": ITEMS["i5"], "i4": None}), strict=True))
                assert {item: after[item]["ctr"] for item in CANDIDATES} == pytest.approx(expected, abs=1e-6)
                assert (await worker.post("/rank", json=BODY)).json()["missing"]["items"] == 1


def offline_with(world: World, changes: dict[str, Any]) -> list[float]:
    """The first output as evaluation computes it, with some items changed."""
    bundle = world.registry.load("v1")
    original = {item: ITEMS[item] for item in changes}
    nothing: dict[str, Any] = {"price": None, "brand": None, "tags": None}
    try:
        ITEMS.update({item: nothing if values is None else values for item, values in changes.items()})
        return list(offline(bundle, "u1", CONTEXT, CANDIDATES)["ctr"])
    finally:
        ITEMS.update(original)


async def test_answers_are_the_same_with_and_without_a_table(world: World) -> None:
    await put(world, {"8": ITEMS["i8"], "ü/ ☃": ITEMS["i9"]})
    given = [{"item_id": "i2", "features": {"price": 7}}, {"item_id": "gone", "features": {"brand": 2, "tags": None}}]
    bodies: list[dict[str, Any]] = [
        BODY,
        BODY | {"candidates": [8, "ü/ ☃", "nothing", -5], "explain": True},
        BODY | {"candidates": [*given, "i1", "absent"], "explain": True, "top_k": 3},
        {"candidates": ["absent"]},
        {"candidates": [{"item_id": 5, "features": {"price": None, "brand": "1", "tags": ["t1", 2]}}], "explain": True},
    ]
    async with serving(world) as client, serving(world, wait=False, item_table={"enabled": False}) as reference:
        for body in bodies:
            answers = [await server.post("/rank", json=body | {"request_id": "r"}) for server in (client, reference)]
            assert answers[0].status_code == 200
            assert answers[0].content == answers[1].content
        assert reference.side.snapshot is None


async def test_a_restart_maps_the_table_that_is_there_and_catches_up(world: World) -> None:
    async with serving(world):
        pass
    names = tables(world)
    await put(world, {"i3": ITEMS["i5"]})
    async with serving(world, wait=False) as client:
        assert client.side.snapshot is not None
        assert [client.side.snapshot.name] == names == tables(world)
        expected = dict(zip(CANDIDATES, offline_with(world, {"i3": ITEMS["i5"]}), strict=True))
        found = {item: outputs["ctr"] for item, outputs in (await client.ranking()).items()}
        assert found == pytest.approx(expected, abs=1e-6)


async def test_a_new_model_goes_live_with_its_items(world: World) -> None:
    async with serving(world) as client:
        first, mapped = client.side, []
        await asyncio.to_thread(world.publish, "v2", 2)

        async def swapped() -> bool:
            assert first.snapshot is not None
            mapped.append(first.snapshot.table)  # the server may map it twice while it starts
            answer = (await client.post("/rank", json=BODY)).json()
            return bool(answer["model_version"] == "v2")

        await eventually(swapped)
        await swapped()
        assert client.side is not first
        assert client.side.snapshot is not None
        assert any(client.side.snapshot.table is table for table in mapped)  # both read items in the same way
        expected = offline(world.registry.load("v2"), "u1", CONTEXT, CANDIDATES)["ctr"].tolist()
        found = await client.ranking()
        assert [found[item]["ctr"] for item in CANDIDATES] == pytest.approx(expected, abs=1e-6)


async def test_what_the_store_cannot_tell_any_more_makes_a_new_table(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(world) as client:
        names = tables(world)
        monkeypatch.setattr(change_log, "MAX_IDS", 3)
        for _ in range(4):
            await put(world, {f"i{n}": ITEMS["i5"] for n in range(7)})

        async def renewed() -> bool:
            return client.side.snapshot is not None and client.side.snapshot.name > names[-1]

        await eventually(renewed)
        expected = offline_with(world, {f"i{n}": ITEMS["i5"] for n in range(7)})
        found = await client.ranking()
        assert [found[item]["ctr"] for item in CANDIDATES] == pytest.approx(expected, abs=1e-6)


async def test_many_changes_make_a_new_table(world: World) -> None:
    async with serving(world, item_table={"poll_seconds": 0.01, "max_changed": 4}) as client:
        names = tables(world)
        await put(world, {f"i{n}": ITEMS["i5"] for n in range(5)})

        async def renewed() -> bool:
            snapshot = client.side.snapshot
            return snapshot is not None and snapshot.name > names[-1]

        await eventually(renewed)
        assert len(tables(world)) == 1
        assert client.side.snapshot is not None
        assert len(client.side.snapshot.table) == len(ITEMS) + 1


async def test_a_killed_builder_leaves_the_live_table_and_another_is_started_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_tables, "_PAUSE_SECONDS", 0.01)
    async with serving(world, item_table={"poll_seconds": 0.01, "max_changed": 4}) as client:
        names = tables(world)
        await put(world, {f"i{n}": ITEMS["i5"] for n in range(5)})
        await eventually(_any_builder)
        os.kill(children(os.getpid())[0], signal.SIGKILL)

        async def told() -> bool:
            return "ranker_item_table_failures_total 1.0" in (await client.get("/metrics")).text

        await eventually(told)
        assert client.side.snapshot is not None
        assert [client.side.snapshot.name] == names
        assert await client.degraded() == []

        async def renewed() -> bool:
            return client.side.snapshot is not None and client.side.snapshot.name > names[-1]

        await eventually(renewed)


async def _any_builder() -> bool:
    return bool(children(os.getpid()))


async def test_while_the_store_is_away_the_last_known_items_rank(world: World, tmp_path: Path) -> None:
    server = memory_only(tmp_path)
    server.start()
    config = parse_store(f"{server.url}?num_retries=0")
    async with config.build() as store:
        await fill(store)
    settings: dict[str, Any] = {"store": config, "item_table": {"poll_seconds": 0.01, "stale_seconds": 0.2}}
    async with serving(world, **settings) as client:
        before = await client.ranking(user_id=None)
        server.kill()

        async def stale() -> bool:
            return "item_features_stale" in await client.degraded()

        await eventually(stale)
        assert await client.ranking(user_id=None) == before
        async with serving(world, wait=False, **settings) as restarted:
            assert await restarted.ranking(user_id=None) == before
            assert "item_features_stale" in await restarted.degraded()


@contextmanager
def files_up_to(num_bytes: int) -> Iterator[None]:
    """A disk on which no file can be larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_keeps_the_table_before(world: World, caplog: pytest.LogCaptureFixture) -> None:
    source, bundle = StoreSource(parse_store(world.store_text)), world.registry.load("v1")
    side = ItemSide(bundle.encoder, FeaturePlan.of(bundle.schema))
    async with source.config.build() as store:
        root = world.folder / "item_tables"
        config, reader = ItemTables.Config(max_changed=4), StoreItems(store)
        items = ItemTables(config, root, source, reader, Metrics(), timeout_seconds=5.0)
        await items.prepare(side, bundle.path, live=side)
        names = tables(world)
        await put(world, {f"i{n}": ITEMS["i5"] for n in range(5)})
        with files_up_to(100):
            await items.refresh(side, bundle.path)
            await eventually(lambda: _contains(caplog, "item table was not built"))
        await items.refresh(side, bundle.path)
        await items.close()
        assert side.snapshot is not None
        assert [side.snapshot.name] == names == tables(world)
        assert side.snapshot.changed is not None
        assert not side.snapshot.is_stale


async def _contains(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text
