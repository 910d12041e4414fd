"""Long work beside requests: a thread of its own, and the interpreter is soon had by others meanwhile."""

from __future__ import annotations

import sys
import threading

import pytest

from serving.background import beside_requests


async def test_it_is_done_by_a_thread_that_ends_with_it() -> None:
    before = sys.getswitchinterval()

    def work() -> tuple[threading.Thread, float]:
        return threading.current_thread(), sys.getswitchinterval()

    thread, meanwhile = await beside_requests(work)
    assert thread is not threading.main_thread()
    thread.join()
    assert meanwhile < before == sys.getswitchinterval()


async def test_its_error_is_the_callers() -> None:
    before = sys.getswitchinterval()

    def work() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await beside_requests(work)
    assert sys.getswitchinterval() == before
