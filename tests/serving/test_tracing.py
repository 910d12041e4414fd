"""Traces: one span per request and one per step, in the caller's trace; sent to a real collector's address."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from serving.tracing import Tracing
from tests.serving.conftest import CANDIDATES, CONTEXT, World

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes spans over HTTP, as OpenTelemetry's collector does."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.stop()


async def test_a_request_becomes_a_span_with_its_steps(world: World, collector: Collector) -> None:
    async with world.serve(tracing={"endpoint": collector.url, "sample_ratio": 0.0}) as client:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        await client.post("/rank", json=BODY, headers=headers)
        await client.post("/rank", json=BODY)  # nobody asked for a trace of this one
    (root,) = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
    assert root.name == "POST /rank"
    assert {a.key: a.value.int_value for a in root.attributes}["http.response.status_code"] == 200
    steps = [span for span in collector.spans if span is not root]
    assert [step.name for step in steps] == ["decode", "features", "encode", "queue", "score", "fuse", "serialise"]
    for step in steps:
        assert step.parent_span_id == root.span_id
        assert root.start_time_unix_nano <= step.start_time_unix_nano <= step.end_time_unix_nano
        assert step.end_time_unix_nano <= root.end_time_unix_nano


async def test_a_request_without_a_caller_is_sampled(world: World, collector: Collector) -> None:
    async with world.serve(tracing={"endpoint": collector.url, "sample_ratio": 1.0}) as client:
        assert (await client.get("/no/such/route", headers={"traceparent": "nonsense"})).status_code == 404
    (span,) = collector.spans
    assert span.name == "GET unmatched"
    assert not span.parent_span_id


def test_without_its_packages_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.tracing.find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"pip install 'ranking-service\[tracing\]'"):
        Tracing.Config(endpoint="http://127.0.0.1:4318/v1/traces")
    assert Tracing.Config().build() is None
