"""A bounded queue of rankings: how many wait, and how long one more would."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from serving.deadline import Deadline
from serving.errors import Overloaded

_SMOOTHING = 0.1  # share that one ranking has in the mean time of a ranking


class Queue:
    """The rankings that a worker has taken on and not yet answered.

    One more is refused when there are too many already, or when those before it would keep it until after its
    deadline. How long one takes is the mean time from the answer before it, or from its own beginning if that was
    later, to its own answer, over about the last ten: several are worked on at once.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._num_waiting = 0
        self._mean_seconds = 0.0
        self._last_done = 0.0

    @property
    def num_waiting(self) -> int:
        """Rankings inside."""
        return self._num_waiting

    def expected_wait(self) -> float:
        """Seconds until it would be the turn of one that enters now."""
        return self._num_waiting * self._mean_seconds

    def admit(self, deadline: Deadline) -> None:
        """Take a request in; who does so has to call `leave` in the end.

        Raises:
            Overloaded: It would wait too long; says when to try again.
        """
        wait = self.expected_wait()
        if self._num_waiting >= self._max_waiting:
            reason = f"{self._num_waiting} rankings wait already (RANKER_LIMITS__MAX_WAITING)"
        elif wait > deadline.remaining():
            reason = f"it would wait {wait:.1f} s, and has {deadline.timeout_ms} ms"
        else:
            self._num_waiting += 1
            return
        raise Overloaded(f"more requests than this server can rank: {reason}; send it again later", math.ceil(wait))

    def leave(self) -> None:
        """A request that was taken in is answered."""
        self._num_waiting -= 1

    @contextmanager
    def hold(self, num_rankings: int) -> Iterator[None]:
        """Count rankings as waiting while the block lasts, whether there is a place for them or not."""
        self._num_waiting += num_rankings
        try:
            yield
        finally:
            self._num_waiting -= num_rankings

    def ranked(self, began: float, done: float) -> None:
        """A ranking that began at one time is done at the other, both of one clock, in seconds."""
        self._mean_seconds += _SMOOTHING * (done - max(began, self._last_done) - self._mean_seconds)
        self._last_done = done
