"""`GET /healthz`, `GET /readyz` and `GET /metrics`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from serving.deps import ServerDep
from serving.readiness import readiness
from serving.schemas import Readiness

router = APIRouter(tags=["health"])


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> str:
    """The process lives."""
    return "ok"


@router.get("/readyz")
async def readyz(server: ServerDep) -> Readiness:
    """The server can rank; with what, and what is not as it should be although it can."""
    return await readiness(server)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(server: ServerDep) -> Response:
    """Prometheus metrics."""
    return Response(server.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)
