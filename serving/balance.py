"""How workers come to equal shares of the work: a busy one lets connections go, and who is less busy accepts them."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from serving.queue import Queue

_MANY_WAITING = 4
_PAUSE_SECONDS = (
    0.05  # a new connection takes either side a fraction of a millisecond: even under overload it is little
)


class Balance:
    """Decides which answers close their connection, so that its caller makes a new one.

    A connection stays with the worker that accepted it, and callers use the one that was free last. So one worker may
    have more than it can do while the other waits, for as long as nobody connects anew.

    Args:
        queue: Of this worker.
        alone: Whether no other worker could take its connections.
        clock: Seconds.
    """

    def __init__(self, queue: Queue, alone: bool, clock: Callable[[], float] = monotonic) -> None:
        self._queue = queue
        self._alone = alone
        self._clock = clock
        self._not_before = 0.0

    def lets_go(self) -> bool:
        """Whether the answer that is given now closes its connection: one in a while, when many rankings wait."""
        if self._alone or self._queue.num_waiting < _MANY_WAITING or self._clock() < self._not_before:
            return False
        self._not_before = self._clock() + _PAUSE_SECONDS
        return True
