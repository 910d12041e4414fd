"""Deadlines: what is over is told at once, and not worked on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from serving.deadline import Deadline
from serving.engine import Engine
from serving.errors import DeadlineExceeded, InvalidRequest
from serving.stride import Stride
from tests.serving.conftest import CANDIDATES, CONTEXT, World

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}


@pytest.mark.parametrize("header", ["", "0", "-5", "1.5", "+3", "1_000", " 7", "600001", "٣", "1e3", "soon"])
def test_a_header_that_is_no_number_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest, match="X-Request-Timeout-Ms"):
        Deadline.begin(header, 100)


@pytest.mark.parametrize(("header", "milliseconds"), [(None, 70_000), ("1", 1), ("600000", 600_000)])
def test_the_header_wins_over_the_setting(header: str | None, milliseconds: int) -> None:
    deadline = Deadline.begin(header, 70_000)
    assert deadline.timeout_ms == milliseconds
    assert deadline.remaining() <= milliseconds / 1000


def test_what_is_over_is_not_worked_on() -> None:
    deadline = Deadline.begin("1", 70_000)._replace(at=0.0)
    with pytest.raises(DeadlineExceeded, match="within 1 ms"):
        deadline.check()


async def test_a_bad_header_answers_422(world: World) -> None:
    async with world.serve() as client:
        response = await client.post("/rank", json=BODY, headers={"X-Request-Timeout-Ms": "soon"})
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "X-Request-Timeout-Ms"


class Gate:
    """Holds the scoring thread until it is opened, and counts what passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.reached = threading.Event(), threading.Event()
        self.num_scored = 0
        score = Engine.run

        def held(engine: Engine, *columns: Any) -> Any:
            self.num_scored += 1
            self.reached.set()
            assert self.opened.wait(60)
            return score(engine, *columns)

        monkeypatch.setattr(Engine, "run", held)


async def test_a_request_that_waits_too_long_answers_504_and_is_never_scored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.serve() as client:
        gate = Gate(monkeypatch)
        first = asyncio.create_task(client.post("/rank", json=BODY))
        await asyncio.to_thread(gate.reached.wait, 60)
        second = await client.post("/rank", json=BODY, headers={"X-Request-Timeout-Ms": "30"})
        assert second.status_code == 504
        assert second.headers["content-type"] == "application/problem+json"
        assert "within 30 ms" in second.json()["detail"]
        gate.opened.set()
        assert (await first).status_code == 200
        assert gate.num_scored == 1


async def test_what_a_batch_does_not_reach_in_time_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.serve(limits={"timeout_ms": 50}) as client:
        gate = Gate(monkeypatch)
        response = await client.post("/rank/batch", json={"requests": [BODY] * 4})
        gate.opened.set()
        assert response.status_code == 200
        assert [problem["status"] for problem in response.json()["responses"]] == [504] * 4
        assert gate.num_scored == 1


async def test_a_request_that_never_gets_its_turn_answers_504(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.serve() as client:
        monkeypatch.setattr(Stride, "turn", lambda _: asyncio.sleep(60))
        response = await client.post("/rank", json=BODY, headers={"X-Request-Timeout-Ms": "30"})
        assert response.status_code == 504
        assert "within 30 ms" in response.json()["detail"]
