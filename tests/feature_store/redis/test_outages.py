"""Servers that stop, hang, fail over or lose what they held: what callers see, and that it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from feature_store import (
    Column,
    CursorExpired,
    FeatureStore,
    RedisStore,
    StoreUnavailable,
    UnknownView,
    ViewSchema,
)
from tests.feature_store.servers import RedisCluster, RedisServer, Sentinels

ITEM = ViewSchema("item", (Column("n", "int"),))
IDS = range(300)


def store_at(url: str, **options: Any) -> RedisStore:
    return RedisStore.Config(url=url, **{"timeout_seconds": 30, "connect_timeout_seconds": 30, **options}).build()


async def fill(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [(n, {"n": n}, None) for n in IDS])


async def numbers(store: FeatureStore, ids: range = IDS) -> list[int | None]:
    return [row and row.values["n"] for row in await store.get_many("item", ids)]


async def eventually(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call answers once the store is available again."""
    for _ in range(300):
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.1)
    return await call()


async def test_an_outage_is_told_and_ends(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    async with store_at(server.url) as store:
        await fill(store)
        _, cursor = await store.changes("item", None)
        server.stop()
        for call in (
            store.get_many("item", ["a"]),
            store.put_many("item", [("a", {}, None)]),
            store.update_many("item", [("a", {}, None)]),
            store.delete_many("item", ["a"]),
            store.changes("item", cursor),
            store.stats("item"),
            store.sweep("item"),
            store.create_view(ITEM),
            store.ping(),
        ):
            with pytest.raises(StoreUnavailable, match=f"Redis at {server.url} failed: .*; check that it runs"):
                await call
        server.start()  # it comes back empty
        await store.ping()
        assert await numbers(store, range(2)) == [None, None]
        with pytest.raises(CursorExpired):
            await store.changes("item", cursor)
        with pytest.raises(UnknownView):
            await store.put_many("item", [("a", {}, None)])
    store = store_at(server.url)
    server.stop()
    with pytest.raises(StoreUnavailable):
        await store.get_many("item", ["a"])
    await store.close()
    server.start()


async def test_a_server_that_hangs_is_unavailable_until_it_goes_on(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    async with store_at(server.url) as patient, store_at(server.url, timeout_seconds=0.2) as store:
        await fill(patient)
        await patient.get_many("item", [0])
        server.pause()
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="Timeout"):
                await numbers(store)
        waiting = asyncio.create_task(numbers(patient))
        await asyncio.sleep(0.1)
        server.resume()
        assert await waiting == list(IDS)
        for start in range(20):  # and no answer is that of an earlier question
            assert await eventually(lambda: numbers(store, range(start, start + 5))) == [*range(start, start + 5)]  # noqa: B023 (called at once)


async def test_clients_that_the_server_holds_up_go_on(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    async with store_at(server.url) as store:
        await fill(store)
        server.ask("client", "pause", "300")
        assert await numbers(store) == list(IDS)


@pytest.mark.parametrize("kind", ["redis", "cluster"])
async def test_answers_of_requests_given_up_reach_nobody_else(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue(f"{kind}_url")
    async with store_at(url, key_prefix="given-up", max_connections=3) as store:
        await fill(store)

        async def ask(start: int) -> None:
            wait = asyncio.wait_for(numbers(store, range(start, start + 40)), start % 7 / 2_000 + 1e-4)
            with suppress(TimeoutError):
                assert await wait == list(range(start, start + 40))

        for _ in range(3):
            await asyncio.gather(*(ask(start) for start in range(200)))
        assert await numbers(store) == list(IDS)  # and no connection was lost on the way


async def test_requests_wait_for_a_free_connection_but_not_forever(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    async with store_at(server.url, max_connections=2) as patient:
        await fill(patient)
        assert await asyncio.gather(*(numbers(patient) for _ in range(20))) == [list(IDS)] * 20
        assert int(server.ask("info", "clients").partition("connected_clients:")[2].split()[0]) <= 3  # one asks now
    async with store_at(server.url, max_connections=1, timeout_seconds=0.2, num_retries=3) as store:
        await store.ping()
        server.pause()
        answers = await asyncio.gather(*(store.ping() for _ in range(3)), return_exceptions=True)
        server.resume()
    assert any("all `max_connections` = 1 were busy" in str(answer) for answer in answers)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """A cluster whose nodes the test may stop."""
    cluster = RedisCluster(tmp_path)
    cluster.start()
    yield cluster
    cluster.stop()


async def test_a_cluster_outlives_the_loss_of_a_node(own_cluster: RedisCluster) -> None:
    async with store_at(own_cluster.url, timeout_seconds=1) as store:
        await fill(store)
        _, cursor = await store.changes("item", None)
        own_cluster.nodes[1].kill()
        with pytest.raises(StoreUnavailable, match=r"Redis at redis\+cluster://"):
            await numbers(store)
        own_cluster.nodes[1].start()  # it has lost its rows
        answer = await eventually(lambda: numbers(store))
        assert None in answer
        assert set(answer) - {None} < set(IDS)
        with pytest.raises(CursorExpired):
            await store.changes("item", cursor)
        await eventually(lambda: fill(store))
        assert await numbers(store) == list(IDS)


async def test_slots_may_move_to_another_node(own_cluster: RedisCluster) -> None:
    async with store_at(own_cluster.url) as store:
        await fill(store)
        _, cursor = await store.changes("item", None)
        moving = asyncio.create_task(asyncio.to_thread(own_cluster.move_slots, 600))
        while not moving.done():
            assert await numbers(store) == list(IDS)
            await store.update_many("item", [(n, {"n": n}, None) for n in (3, 7, 250)])
            await asyncio.sleep(0.01)
        await moving
        assert await numbers(store) == list(IDS)
        assert {"3", "7", "250"} <= set((await store.changes("item", cursor))[0])


@pytest_asyncio.fixture
async def sentinels(tmp_path: Path) -> AsyncIterator[Sentinels]:
    """A master, its replica, and a Sentinel that watches them."""
    servers = Sentinels(tmp_path)
    servers.start()
    yield servers
    servers.stop()


async def test_sentinels_lead_to_the_new_master(sentinels: Sentinels) -> None:
    async with store_at(sentinels.url, timeout_seconds=1) as store:
        await fill(store)
        _, cursor = await store.changes("item", None)
        assert await numbers(store) == list(IDS)
        sentinels.wait_for_replica()
        sentinels.master.kill()
        assert await eventually(lambda: numbers(store)) == list(IDS)
        await eventually(lambda: store.put_many("item", [("late", {"n": 1}, None)]))
        assert (await store.changes("item", cursor))[0] == ["late"]
    async with store_at(sentinels.url.replace("mymaster", "other")) as store:
        with pytest.raises(StoreUnavailable, match="No master found for 'other'"):
            await store.ping()
