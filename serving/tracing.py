"""Traces for OpenTelemetry, where they are wanted: one span per request, and one for each of its steps."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import Field, field_validator
from starlette.types import Scope

from ranker.frozen_config import FrozenConfig
from serving.timeline import Timeline

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter")


class Tracing:
    """Makes spans of what was timed anyway, once a request is over: a step costs nothing until then.

    A request whose caller sends a W3C `traceparent` belongs to the caller's trace, and is kept or not as the caller
    decided.

    Args:
        provider: Where spans go to; made after the last fork, because it has a thread.
    """

    class Config(FrozenConfig):
        """Options of `Tracing`."""

        endpoint: str | None = Field(
            None, description="OTLP over HTTP, like http://collector:4318/v1/traces; null: no traces."
        )
        sample_ratio: float = Field(
            0.01, ge=0, le=1, description="Share of requests that are traced where the caller has not decided."
        )
        service_name: str = Field("ranker", min_length=1, description="What traces call this server.")

        @field_validator("endpoint")
        @classmethod
        def _check_packages(cls, endpoint: str | None) -> str | None:
            if endpoint is not None and not all(_installed(package) for package in _PACKAGES):
                raise ValueError(
                    "`endpoint` needs packages that are not installed; run pip install 'ranking-service[tracing]', "
                    "or leave it out"
                )
            return endpoint

        def build(self) -> Tracing | None:
            """Tracing to the endpoint; `None` without one."""
            return None if self.endpoint is None else Tracing(_exporting(self))

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("serving")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, scope: Scope, route: str, timeline: Timeline, status: int) -> None:
        """Make the spans of a request that is over."""
        carrier = {
            str(name, "latin-1"): str(value, "latin-1")
            for name, value in scope["headers"]
            if name in (b"traceparent", b"tracestate")
        }
        end = time.time_ns()
        begin = end - timeline.age_ns()
        span = self._tracer.start_span(
            f"{scope['method']} {route}",
            self._propagator.extract(carrier),
            SpanKind.SERVER,
            {
                "http.request.method": scope["method"],
                "http.route": route,
                "http.response.status_code": status,
                "ranker.request_id": scope["state"]["request_id"],
            },
            start_time=begin,
        )
        if span.is_recording():
            inside = trace.set_span_in_context(span)
            for step in timeline.steps:
                start = begin + int((step.start - timeline.begin) * 1e9)
                self._tracer.start_span(step.name, inside, start_time=start).end(start + int(step.seconds * 1e9))
        span.end(end)

    def close(self) -> None:
        """Send what waits to be sent."""
        self._provider.shutdown()


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def _exporting(config: Tracing.Config) -> TracerProvider:
    # Here, because most servers have no use for traces and not these packages.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(config.sample_ratio)),
        resource=Resource.create({"service.name": config.service_name}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=config.endpoint)))
    return provider
