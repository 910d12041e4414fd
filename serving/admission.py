"""Who comes in: a bounded queue of ranking requests. What would wait too long is refused at the door, at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.deadline import HEADER, Deadline
from serving.errors import Overloaded, ServingError, problem_response
from serving.metrics import Metrics

RANKING_PATHS = frozenset({"/rank", "/rank/batch"})
_HEADER = HEADER.lower().encode()
_SMOOTHING = 0.1  # share that one ranking has in the mean time of a ranking


class Queue:
    """The rankings that a worker has taken on and not yet answered.

    One more is refused when there are too many already, or when those before it would keep it until after its
    deadline. How long they take is the mean time that the scoring thread was busy with one, over about the last ten.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._num_waiting = 0
        self._mean_seconds = 0.0

    @property
    def num_waiting(self) -> int:
        """Rankings inside."""
        return self._num_waiting

    def expected_wait(self) -> float:
        """Seconds until the scoring thread would come to one that enters now."""
        return self._num_waiting * self._mean_seconds

    def admit(self, deadline: Deadline) -> None:
        """Let a request in.

        Raises:
            Overloaded: It would wait too long; says when to try again.
        """
        wait = self.expected_wait()
        if self._num_waiting >= self._max_waiting:
            reason = f"{self._num_waiting} rankings wait already (RANKER_LIMITS__MAX_WAITING)"
        elif wait > deadline.remaining():
            reason = f"it would wait {wait * 1000:.0f} ms, and has {deadline.timeout_ms} ms"
        else:
            return
        raise Overloaded(f"more requests than this server can rank: {reason}; send it again later", math.ceil(wait))

    @contextmanager
    def hold(self, num_rankings: int = 1) -> Iterator[None]:
        """Count rankings as waiting while the block lasts."""
        self._num_waiting += num_rankings
        try:
            yield
        finally:
            self._num_waiting -= num_rankings

    def ranked(self, seconds: float) -> None:
        """The scoring thread was busy that long with one ranking; called by that thread alone."""
        self._mean_seconds += _SMOOTHING * (seconds - self._mean_seconds)


class Admission:
    """ASGI middleware that gives every ranking request its deadline, and refuses it before anything is read of it."""

    def __init__(self, app: ASGIApp, queue: Queue, metrics: Metrics, timeout_ms: int) -> None:
        self._app = app
        self._queue = queue
        self._metrics = metrics
        self._timeout_ms = timeout_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http" or scope["path"] not in RANKING_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            deadline = Deadline.begin(_timeout(scope), self._timeout_ms)
            self._queue.admit(deadline)
        except ServingError as exc:
            self._metrics.refused.labels(type(exc).__name__).inc()
            scope["state"]["refused"] = True  # counted; a line in the log for each would fill it when it matters
            await problem_response(exc)(scope, receive, send)
            return
        scope["state"]["deadline"] = deadline
        try:
            with self._queue.hold():
                self._metrics.waiting.set(self._queue.num_waiting)
                await self._app(scope, receive, send)
        finally:
            self._metrics.waiting.set(self._queue.num_waiting)


def _timeout(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == _HEADER:
            return str(value, "latin-1")
    return None
