"""The scoring thread: first in first out, beside the loop, and no work for those who have gone."""

from __future__ import annotations

import asyncio
import threading
import weakref
from functools import partial

import pytest

from serving.scoring_thread import ScoringThread


class Result:
    """Something that can be watched."""


async def test_work_is_done_in_order_by_one_thread_beside_the_loop() -> None:
    done: list[int] = []
    released = threading.Event()

    def work(number: int) -> tuple[int, str]:
        assert released.wait(10)
        done.append(number)
        return number, threading.current_thread().name

    with ScoringThread() as thread:
        tasks = [asyncio.ensure_future(thread.run(partial(work, number))) for number in range(5)]
        await asyncio.sleep(0.01)
        assert done == []
        released.set()
        assert await asyncio.gather(*tasks) == [(number, "score") for number in range(5)]
    assert done == list(range(5))


async def test_its_error_is_the_callers() -> None:
    def fail() -> None:
        raise LookupError("nothing there")

    with ScoringThread() as thread:
        with pytest.raises(LookupError, match="nothing there"):
            await thread.run(fail)
        assert await thread.run(lambda: 7) == 7


async def test_what_nobody_waits_for_is_not_done() -> None:
    released, begun, done = threading.Event(), threading.Event(), []

    def hold() -> str:
        begun.set()
        assert released.wait(10)
        return "held"

    with ScoringThread() as thread:
        first = asyncio.ensure_future(thread.run(hold))
        second = asyncio.ensure_future(thread.run(lambda: done.append(2)))
        while not begun.is_set():  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0.001)
        for task in (first, second):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        released.set()
        assert await thread.run(lambda: "later") == "later"
    assert done == []


async def test_leaving_waits_for_what_was_given() -> None:
    done: list[int] = []
    with ScoringThread() as thread:
        tasks = [asyncio.ensure_future(thread.run(partial(done.append, number))) for number in range(3)]
        await asyncio.sleep(0)
    assert done == [0, 1, 2]
    await asyncio.gather(*tasks)
    assert "score" not in [running.name for running in threading.enumerate()]


async def test_a_result_is_not_kept() -> None:
    with ScoringThread() as thread:
        result = await thread.run(Result)
        watched = weakref.ref(result)
        del result
        await asyncio.sleep(0.05)
        assert watched() is None
