"""SIGTERM and Ctrl-C as a wish: the job stops at its next safe point, with all it has done kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(told: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Inside, the first signal is a wish to stop; the second one acts as it always did.

    Args:
        told: Called at the first signal.

    Yields:
        Whether there was one.
    """
    asked = threading.Event()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def handle(_number: int, _frame: FrameType | None) -> None:
        asked.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        told()

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
