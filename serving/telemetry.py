"""What happens around every request: it is given an id, counted, timed, logged, and traced if traces are on."""

from __future__ import annotations

import logging
import re
import uuid
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.balance import Balance
from serving.drain import Drain
from serving.metrics import Metrics
from serving.timeline import Timeline
from serving.tracing import Tracing

access_logger = logging.getLogger("serving.access")

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class Telemetry:
    """ASGI middleware around all others. A request keeps the id that its caller sent, if it sent one.

    While the server drains, each answer closes its connection: its caller's next request goes to another server. While
    this worker has much to do, some do: it may go to another worker.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        drain: Drain,
        balance: Balance,
        access_log: bool,
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._drain = drain
        self._balance = balance
        self._access_log = access_log
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        timeline = Timeline()
        request_id = _request_id(scope)
        scope.setdefault("state", {}).update(request_id=request_id, timeline=timeline)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                if self._drain.draining or self._balance.lets_go():
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._record(scope, timeline, status)

    def _record(self, scope: Scope, timeline: Timeline, status: int) -> None:
        seconds = perf_counter() - timeline.begin
        route = getattr(scope.get("route"), "path", "unmatched")  # never the raw path: labels must stay few
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        self._metrics.stages(timeline)
        if self._tracing is not None:
            self._tracing.record(scope, route, timeline, status)
        if self._access_log:
            fields = {
                "request_id": scope["state"]["request_id"],
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round(seconds * 1000, 3),
            }
            access_logger.info("request", extra=fields)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(sent := value.decode("latin-1")):
            return str(sent)
    return uuid.uuid4().hex
