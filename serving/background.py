"""Long work in the process that answers requests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_SWITCH_SECONDS = 0.0005


async def beside_requests(work: Callable[[], T]) -> T:
    """What some long work returns, or raises; requests have the interpreter soon when they want it meanwhile.

    A thread does it that ends with it: what it has allocated, and what was freed of that, the thread of the next such
    call takes over, where threads of a pool would each keep as much. One call at a time.

    Its priority stays as it is. Lowered, it would wait for a core while it has the interpreter, on a machine that is
    busy, and requests with it.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="background")
    try:
        with _switching_often():
            return await asyncio.get_running_loop().run_in_executor(thread, work)
    finally:
        thread.shutdown(wait=False)


@contextmanager
def _switching_often() -> Iterator[None]:
    """By default a busy thread keeps the interpreter for 5 ms when others want it."""
    before = sys.getswitchinterval()
    if before <= _SWITCH_SECONDS:  # our server has set less
        yield
        return
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
