"""The load generator: what it asks for, when, and how it counts; against real servers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st
from typer.testing import CliRunner

from feature_store import parse_store
from serving.bench import Connections, Ids, OpenLoop, Outcomes, Summary, Workload, find_peak
from serving.bench.connections import NO_ANSWER, Reply
from serving.cli import app
from tests.serving.conftest import ITEMS, USERS, World
from tests.serving.test_cli import program, where

WORKLOAD = Workload(Ids.numbered("u{}", 30), Ids.numbered("i{}", 200), (3, 50))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@given(
    st.integers(1, 40), st.integers(1, 60), st.lists(st.integers(1, 80), min_size=1, max_size=4), st.floats(0.0, 3.0)
)
def test_requests_are_valid_whatever_is_asked(users: int, items: int, sizes: list[int], skew: float) -> None:
    workload = Workload(Ids.numbered("u{}", users), Ids.numbered("i{}", items), sizes, skew)
    for body in map(json.loads, workload.bodies(5, seed=users)):
        assert len(set(body["candidates"])) == len(body["candidates"])
        assert len(body["candidates"]) in {min(size, items) for size in sizes}
        assert body["user_id"] in workload.users.names
        assert set(body["candidates"]) <= set(workload.items.names)


def test_the_same_seed_makes_the_same_requests() -> None:
    assert WORKLOAD.bodies(9, seed=3) == WORKLOAD.bodies(9, seed=3) != WORKLOAD.bodies(9, seed=4)


@pytest.mark.parametrize(("skew", "share"), [(0.0, 1 / 30), (1.0, 1 / sum(1 / n for n in range(1, 31)))])
def test_users_follow_zipfs_law(skew: float, share: float) -> None:
    workload = Workload(WORKLOAD.users, WORKLOAD.items, (1,), skew)
    users = Counter(json.loads(body)["user_id"] for body in workload.bodies(4000))
    assert users["u0"] / 4000 == pytest.approx(share, abs=0.03)


async def test_ids_come_from_a_store(world: World) -> None:
    config = parse_store(world.store_text)
    assert set((await Ids.stored(config, "user", 100)).names) == set(USERS)
    some = await Ids.stored(config, "item", 4)
    assert len(some.names) == 4
    assert set(some.names) <= set(ITEMS)


def test_percentiles_are_of_every_request() -> None:
    outcomes = Outcomes()
    for milliseconds in range(1, 102):
        outcomes.add(Reply(200, b""), milliseconds / 1000)
    outcomes.add(Reply(503, b""), 0.5)
    outcomes.add(Reply(NO_ANSWER, b"timeout"), 9.0)
    summary = outcomes.summary(seconds=2.0, until_last_seconds=4.0, busy=0.25)
    assert summary.ranked_ms == pytest.approx(
        {"p50": 51, "p90": 91, "p95": 96, "p99": 100, "p99.9": 100.9, "p100": 101}
    )
    assert summary.refused_ms["p50"] == 500
    assert summary.answers == {"200": 101, "503": 1, "timeout": 1}
    assert (summary.offered_per_second, summary.ranked_per_second, summary.busy) == (51.5, 25.25, 0.25)


class Fake:
    """A server that answers every request as a test says, and counts connections."""

    def __init__(self, respond: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
        self._respond = respond
        self._serving: set[asyncio.Task[None]] = set()
        self.num_connections = 0
        self.num_requests = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                self.num_requests += 1
                await self._respond(writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller has gone, or the test is over
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def test_connections_are_used_again() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)

    fake = Fake(respond)
    async with fake as url:
        connections = Connections(url, 5)
        for _ in range(7):
            assert await connections.post("/rank", b"{}") == Reply(200, b"{}")
        await asyncio.gather(*(connections.post("/rank", b"{}") for _ in range(20)))
        assert fake.num_connections <= 5
        assert fake.num_requests == 27
        await connections.close()


async def test_a_connection_that_the_server_closes_is_not_used_again() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        writer.close()

    fake = Fake(respond)
    async with fake as url:
        connections = Connections(url, 1)
        assert [(await connections.post("/rank", b"{}")).status for _ in range(3)] == [200] * 3
        assert fake.num_connections == 3


async def test_what_goes_wrong_is_an_outcome() -> None:
    async def hang(_: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER[:20])
        writer.close()

    for respond, reason in ((hang, b"timeout"), (cut, b"ConnectionResetError")):
        async with Fake(respond) as url:
            assert await Connections(url, 1, timeout_seconds=0.1).post("/rank", b"{}") == Reply(NO_ANSWER, reason)
    assert (await Connections(url, 1).post("/rank", b"{}")).body == b"ConnectionRefusedError"


async def test_waiting_for_a_connection_counts() -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(ANSWER)

    fake = Fake(respond)
    async with fake as url:
        loop = OpenLoop(Connections(url, 1), [b"{}"], "constant")
        summary = await loop.run(per_second=100, seconds=0.3)
        assert fake.num_requests == sum(summary.answers.values()) == 30
        # Each takes 20 ms and comes 10 ms after the one before: the last waits for all others.
        assert summary.ranked_ms["p100"] >= 250


@pytest.mark.parametrize("capacity", [26.0, 90.0, 340.0, 10_000.0])
async def test_the_peak_is_what_the_server_can_take(capacity: float) -> None:
    asked: list[float] = []

    async def run(per_second: float) -> Summary:
        asked.append(per_second)
        return Summary(per_second, min(per_second, capacity), {}, {}, {}, 0.0)

    peak = await find_peak(run, 25.0, 2_000.0)
    assert peak.ranked_per_second <= capacity
    assert peak.ranked_per_second >= 0.85 * min(capacity, 2_000.0)
    assert len(asked) <= 12


async def test_a_server_that_is_slower_than_the_first_rate_is_asked_once() -> None:
    async def run(per_second: float) -> Summary:
        return Summary(per_second, 5.0, {}, {}, {}, 0.0)

    assert (await find_peak(run, 25.0, 2_000.0)).ranked_per_second == 5.0


async def test_the_program_measures_a_real_server(world: World) -> None:
    async with program(world, *where(world)) as (_, address, _):
        options = ["bench", address, "--rate", "40", "--seconds", "0.5", "--candidates", "3,9", "--json"]
        ids = ["--store", world.store_text]
        result = await asyncio.to_thread(CliRunner().invoke, app, [*options, *ids], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        summary = json.loads(result.output)
        assert set(summary["answers"]) == {"200"}
        assert summary["ranked_ms"]["p50"] > 0
        assert 0 < summary["ranked_per_second"] <= 2 * summary["answers"]["200"]


@pytest.mark.parametrize(
    "options",
    [["ftp://x"], ["http://x", "--users", "u=5"], ["http://x", "--users", "u{}"], ["http://x", "--candidates", "0"]],
)
def test_the_program_refuses_what_makes_no_sense(options: list[str]) -> None:
    result = CliRunner().invoke(app, ["bench", *options])
    assert result.exit_code == 2
    assert "Traceback" not in result.output
