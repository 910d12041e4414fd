"""Long work beside requests: a thread of its own, and the interpreter is soon had by others meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from serving.background import beside_requests


@pytest.fixture(params=[0.005, 0.0001], ids=["Python's", "a server's"])
def interval(request: pytest.FixtureRequest) -> Iterator[float]:
    """After how many seconds a busy thread gives the interpreter away, as it was set before."""
    others = sys.getswitchinterval()
    sys.setswitchinterval(request.param)
    yield sys.getswitchinterval()
    sys.setswitchinterval(others)


async def test_it_is_done_by_a_thread_that_ends_with_it(interval: float) -> None:

    def work() -> tuple[threading.Thread, float]:
        return threading.current_thread(), sys.getswitchinterval()

    thread, meanwhile = await beside_requests(work)
    assert thread is not threading.main_thread()
    thread.join()
    assert meanwhile == pytest.approx(min(interval, 0.0005))
    assert sys.getswitchinterval() == interval


async def test_its_error_is_the_callers(interval: float) -> None:

    def work() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await beside_requests(work)
    assert sys.getswitchinterval() == interval


async def test_the_interval_stays_however_often(interval: float) -> None:
    for _ in range(5):
        await beside_requests(lambda: None)
    assert sys.getswitchinterval() == interval
