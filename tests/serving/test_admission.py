"""The door: who would wait too long is told so at once, and everybody else is taken in."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from serving.deadline import Deadline
from serving.errors import Overloaded
from serving.queue import Queue
from tests.serving.conftest import CANDIDATES, CONTEXT, World
from tests.serving.test_deadline import Gate

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}


def deadline(milliseconds: int) -> Deadline:
    """The deadline of a request that has just come in."""
    return Deadline.begin(str(milliseconds), 1)


def test_it_takes_as_many_as_it_may() -> None:
    queue = Queue(3)
    with queue.hold(2):
        queue.admit(deadline(60_000))
        with pytest.raises(Overloaded, match="3 rankings wait already") as refused:
            queue.admit(deadline(60_000))
        assert refused.value.retry_after_seconds >= 1
        queue.leave()
        queue.admit(deadline(60_000))
    queue.leave()
    assert queue.num_waiting == 0


def test_it_refuses_what_would_wait_past_its_deadline() -> None:
    queue = Queue(100)
    for number in range(200):
        queue.ranked(2.0 * number, 2.0 * number + 2.0)
    with queue.hold(5):
        assert queue.expected_wait() == pytest.approx(10.0)
        with pytest.raises(Overloaded, match="and has 9000 ms") as refused:
            queue.admit(deadline(9_000))
        assert refused.value.retry_after_seconds == 10
        queue.admit(deadline(60_000))


def test_an_empty_house_takes_anyone_however_slow_it_was() -> None:
    queue = Queue(1)
    queue.ranked(0.0, 1e6)
    queue.admit(deadline(1))


@given(st.lists(st.integers(1, 10_000).map(lambda parts: parts / 1024), min_size=1, max_size=40))  # exact differences
def test_the_expected_wait_lies_between_the_shortest_and_the_longest(seconds: list[float]) -> None:
    queue, now = Queue(100), 0.0
    for one in seconds:
        queue.ranked(now, now + one)
        now += one
    with queue.hold(7):
        assert queue.expected_wait() <= 7 * max(seconds)


def test_rankings_that_overlap_take_the_time_between_their_answers() -> None:
    queue = Queue(100)
    for number in range(200):
        queue.ranked(2.0 * number, 2.0 * number + 11.0)
    with queue.hold(5):
        assert queue.expected_wait() == pytest.approx(10.0)


async def test_one_too_many_answers_503_with_retry_after(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.serve(limits={"max_waiting": 2}) as client:
        gate = Gate(monkeypatch)
        inside = [asyncio.create_task(client.post("/rank", json=BODY)) for _ in range(2)]
        await asyncio.to_thread(gate.reached.wait, 60)
        for path in ("/rank", "/rank/batch"):
            refused = await client.post(path, content=b"not even read")
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["x-request-id"]
        metrics = (await client.get("/metrics")).text
        assert "ranker_waiting 2.0" in metrics
        assert "ranker_refused_total 2.0" in metrics
        gate.opened.set()
        assert [response.status_code for response in await asyncio.gather(*inside)] == [200, 200]
        assert (await client.post("/rank", json=BODY)).status_code == 200
        assert "ranker_waiting 0.0" in (await client.get("/metrics")).text


async def test_a_batch_counts_as_the_rankings_it_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.serve(limits={"max_waiting": 3}) as client:
        gate = Gate(monkeypatch)
        batch = asyncio.create_task(client.post("/rank/batch", json={"requests": [BODY] * 3}))
        await asyncio.to_thread(gate.reached.wait, 60)
        assert (await client.post("/rank", json=BODY)).status_code == 503
        gate.opened.set()
        assert [answer["model_version"] for answer in (await batch).json()["responses"]] == ["v1"] * 3
