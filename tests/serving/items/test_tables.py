"""Item tables in running servers: built once, shared, brought up to date, and never half there."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from feature_store import parse_store
from feature_store.embedded import change_log
from serving import create_app
from serving.feature_plan import FeaturePlan
from serving.items import ItemSide, ItemTables, StoreItems, StoreSource, tables as item_tables
from serving.metrics import Metrics
from tests.feature_store.servers import memory_only
from tests.serving.conftest import CANDIDATES, CONTEXT, ITEMS, World, eventually, fill, offline, running

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}
QUICK = {"item_table": {"poll_seconds": 0.01}}


class Server(httpx.AsyncClient):
    """A client that can look into its server."""

    app: FastAPI

    @property
    def side(self) -> ItemSide:
        """Items of the live model."""
        side: ItemSide = self.app.state.server.models.live().item_side
        return side

    async def has_table(self) -> bool:
        """Whether the live model has its items."""
        return self.side.snapshot is not None

    async def ranking(self, **body: Any) -> dict[str, Any]:
        """Outputs by item id."""
        response = await self.post("/rank", json=BODY | body)
        assert response.status_code == 200, response.text
        return {entry["item_id"]: entry["outputs"] for entry in response.json()["ranking"]}

    async def degraded(self) -> list[str]:
        """What an answer says is wrong."""
        return list((await self.post("/rank", json=BODY)).json()["degraded"])


@asynccontextmanager
async def serving(world: World, wait: bool = True, **changes: Any) -> AsyncIterator[Server]:
    """A server in this process whose items are there."""
    app = create_app(world.settings(**(QUICK | changes)))
    async with running(app) as client:
        client.__class__ = Server
        assert isinstance(client, Server)
        client.app = app
        if wait:
            await eventually(client.has_table)
        yield client


def tables(world: World) -> list[str]:
    """Names of the tables that are kept."""
    folders = (world.folder / "item_tables").glob("*/*")
    return sorted(path.name for path in folders if path.is_dir())


async def put(world: World, rows: dict[str, dict[str, Any]], **options: Any) -> None:
    """Write items into the store."""
    async with parse_store(world.store_text).build() as store:
        await store.put_many("item", [(key, values, None) for key, values in rows.items()], **options)


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


def children(pid: int) -> list[int]:
    """Builders that a process has started."""
    pids = [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return [child for child in pids if b"serving.items" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")]


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


BUILDER = """
import asyncio, sys
from pathlib import Path
from feature_store import parse_store
from ranker.registry import Registry
from serving.feature_plan import FeaturePlan
from serving.feature_plan import FeaturePlan
from serving.items import ItemSide, ItemTables, StoreItems, StoreSource
from serving.metrics import Metrics
registry, store, root = sys.argv[1:]
bundle = Registry(registry).load()
side = ItemSide(bundle.encoder, FeaturePlan.of(bundle.schema))
config = parse_store(store)
async def main():
    async with config.build() as opened:
        tables = ItemTables(ItemTables.Config(), Path(root), StoreSource(config), StoreItems(opened), Metrics(), 60.0)
        print("ready", flush=True)
        sys.stdin.readline()
        await tables.prepare(side, bundle.path, live=side)
        print(side.snapshot.name, flush=True)
asyncio.run(main())
"""


def builders(world: World, number: int) -> list[subprocess.Popen[str]]:
    """Processes that are about to build a table; a line to one starts it."""
    arguments = [str(world.folder / "registry"), world.store_text, str(world.folder / "item_tables")]
    command = [sys.executable, "-c", BUILDER, *arguments]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return processes


def start(*processes: subprocess.Popen[str]) -> None:
    """Let them build."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


async def _has_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def _builds(world: World) -> bool:
    return bool(list((world.folder / "item_tables").glob("*/.*.partial/id.bytes.npy")))


async def test_of_two_processes_one_builds_and_a_killed_one_leaves_nothing(world: World) -> None:
    await put(world, {f"many{n}": ITEMS["i5"] for n in range(20_000)})
    killed, *others = builders(world, 3)
    start(killed)
    await eventually(lambda: _builds(world))
    (child,) = children(killed.pid)
    killed.kill()
    killed.communicate()
    await eventually(lambda: _has_gone(child))
    assert all(name.startswith(".") for name in tables(world))
    start(*others)
    names = [process.communicate()[0].strip() for process in others]
    assert names[0] == names[1]
    assert tables(world) == names[:1]
    await put(world, {"i3": ITEMS["i5"]})
    async with serving(world, wait=False) as client:
        assert client.side.snapshot is not None
        assert client.side.snapshot.name == names[0]


def write_items(path: Path, items: dict[str, dict[str, Any]]) -> None:
    """Items as a Parquet file that appears whole."""
    rows = [{"item_id": item, **values, "listed_at": 1.7e9} for item, values in items.items()]
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


async def test_items_may_come_from_parquet_files_in_place_of_the_store(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_tables, "_PAUSE_SECONDS", 0.01)
    folder = tmp_path / "items"
    folder.mkdir()
    async with serving(world) as client:
        expected = await client.ranking()
    async with parse_store(world.store_text).build() as store:
        await store.delete_many("item", list(ITEMS))
    config = {"poll_seconds": 0.01, "parquet": folder, "parquet_event_time": "listed_at"}
    async with serving(world, wait=False, item_table=config) as client:
        assert await client.degraded() == ["item_features_unavailable"]
        write_items(folder / "part-0.parquet", ITEMS)
        await eventually(client.has_table)
        assert await client.ranking() == expected
        write_items(folder / "part-0.parquet", {**ITEMS, "i3": ITEMS["i5"], "fresh": ITEMS["i6"]})

        async def is_seen() -> bool:
            return bool((await client.ranking())["i3"] != expected["i3"])

        await eventually(is_seen)
        assert (await client.post("/rank", json={"candidates": ["fresh", "i4"]})).json()["missing"]["items"] == 0
        assert await client.degraded() == []


async def test_files_that_lack_a_column_are_told(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_tables, "_PAUSE_SECONDS", 0.01)
    file = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ["i1"], "price": [2.0]}), file)
    async with serving(world, wait=False, item_table={"poll_seconds": 0.01, "parquet": file}) as client:

        async def told_twice() -> bool:
            return caplog.text.count("item table was not built") >= 2

        await eventually(told_twice)
        told = [vars(record) for record in caplog.records if "not built" in record.message]
        assert all("'brand'" in record["reason"] for record in told)
        assert [record["again_in_seconds"] for record in told][:2] == [0.01, 0.02]
        assert await client.degraded() == ["item_features_unavailable"]


def test_files_without_a_table_are_refused(world: World) -> None:
    with pytest.raises(ValidationError, match="`parquet` needs `enabled`"):
        world.settings(item_table={"enabled": False, "parquet": world.folder})
