"""Who comes in: every ranking request has a deadline and a place in the queue, or is refused at once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.deadline import HEADER, Deadline
from serving.errors import OVERLOADED, InvalidRequest, Overloaded, ServingError, problem_bytes, problem_response
from serving.metrics import Metrics
from serving.queue import Queue

RANKING_PATHS = frozenset({"/rank", "/rank/batch"})
_HEADER = HEADER.lower().encode()
Headers = Iterable[tuple[bytes, bytes]]


class Door:
    """Decides about ranking requests as soon as their headers are there, before anything is made of them.

    A server of ours asks it for each request, and answers refused ones from the parser: under overload most are, and
    what they cost is what the others lose.
    """

    def __init__(self, queue: Queue, metrics: Metrics, timeout_ms: int) -> None:
        self._queue = queue
        self._metrics = metrics
        self._timeout_ms = timeout_ms
        self._answered = {path: metrics.requests.labels(path, "POST", str(int(OVERLOADED))) for path in RANKING_PATHS}

    def admit(self, headers: Headers) -> Deadline:
        """Take a request in that comes in now, until its `leave`; its deadline.

        Raises:
            InvalidRequest: Its deadline makes no sense.
            Overloaded: There is no place for it.
        """
        deadline = Deadline.begin(_timeout(headers), self._timeout_ms)
        try:
            self._queue.admit(deadline)
        except Overloaded:
            self._metrics.refused.inc()
            raise
        self._metrics.waiting.set(self._queue.num_waiting)
        return deadline

    def leave(self) -> None:
        """A request that was taken in is answered."""
        self._queue.leave()
        self._metrics.waiting.set(self._queue.num_waiting)

    def decide(self, path: str, headers: Headers) -> Deadline | bytes | None:
        """What becomes of a request whose headers are there.

        Returns:
            The deadline of one that is taken in, the whole HTTP answer to one that is refused, `None` for all others:
            no ranking, or one with a fault that is told where all faults are.
        """
        if path not in RANKING_PATHS:
            return None
        try:
            return self.admit(headers)
        except Overloaded as exc:
            self._answered[path].inc()
            return _refusal(str(exc), exc.retry_after_seconds)
        except InvalidRequest:
            return None


class Admission:
    """ASGI middleware: every ranking request has a deadline and a place in the queue, or goes no further."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http" or scope["path"] not in RANKING_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            if "deadline" not in scope["state"]:  # the server has not asked the door
                scope["state"]["deadline"] = self._door.admit(scope["headers"])
        except ServingError as exc:
            await problem_response(exc)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._door.leave()


def _timeout(headers: Headers) -> str | None:
    for name, value in headers:
        if name == _HEADER:
            return str(value, "latin-1")
    return None


@lru_cache(maxsize=64)  # the same again and again, when many are refused
def _refusal(detail: str, retry_after_seconds: int) -> bytes:
    return problem_bytes(Overloaded(detail, retry_after_seconds))
