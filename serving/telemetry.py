"""What an operator sees: Prometheus metrics, and an access log with a request id."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterable, Mapping
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_logger = logging.getLogger("serving.access")

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "HTTP requests.", "route", "method", "status")
        self.request_seconds = self._histogram("request_seconds", "Whole HTTP requests.", "route")
        self.stage_seconds = self._histogram(
            "stage_seconds", "Steps of a ranking: features, encode, score, fuse, serialise.", "stage"
        )
        self.candidates = self._counter("candidates", "Candidates ranked.")
        self.missing_users = self._counter("missing_users", "Rankings without features of the user.")
        self.missing_items = self._counter("missing_items", "Candidates without features in the store.")
        self.rankings = self._counter("rankings", "Rankings made.")
        self.degraded = self._counter("degraded", "Rankings that were not as they should be, by reason.", "reason")
        self.reload_failures = self._counter("reload_failures", "Bundles that were refused.")
        self.events = self._counter("logged_events", "Rows written to the request log.", "kind")
        self.log_failures = self._counter("log_failures", "Writes of the request log that failed.")
        self._model = Gauge("ranker_model_info", "1 for the live model.", ["version"], registry=self.registry)

    def model_live(self, version: str) -> None:
        """Another model went live."""
        self._model.clear()
        self._model.labels(version).set(1)

    def ranked(self, num_candidates: int, missing: Mapping[str, int], degraded: Iterable[str]) -> None:
        """A ranking was made; `missing` and `degraded` as its answer says."""
        self.rankings.inc()
        self.candidates.inc(num_candidates)
        self.missing_users.inc(missing["user"])
        self.missing_items.inc(missing["items"])
        for reason in degraded:
            self.degraded.labels(reason).inc()

    def stages(self, **seconds: float) -> None:
        """How long the steps of a ranking took."""
        for stage, spent in seconds.items():
            self.stage_seconds.labels(stage).observe(spent)

    def exposition(self) -> bytes:
        """All metrics as Prometheus reads them."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"ranker_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"ranker_{name}", text, labels, registry=self.registry, buckets=_BUCKETS)


class Telemetry:
    """ASGI middleware: counts, times and logs every request, and gives it an id (the caller's, if it sent one)."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = perf_counter(), 500
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._record(scope, request_id, status, perf_counter() - start)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")  # never the raw path: labels must stay few
        self._metrics.requests.labels(route, _method(scope), str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if self._access_log:
            fields = {
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "milliseconds": round(seconds * 1000, 3),
            }
            access_logger.info("request", extra=fields)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} else "other"
