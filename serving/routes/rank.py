"""`POST /rank` and `POST /rank/batch`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from serving.deps import call_of, server_of
from serving.openapi import BATCH_RESPONSE, wire
from serving.schemas import BatchRequestSchema, RankRequest, RankResponse

router = APIRouter(tags=["rank"])

# Not by dependencies: for the three of them FastAPI took longer than the body takes to decode.


@router.post("/rank", response_class=Response, openapi_extra=wire(RankRequest, RankResponse))
async def rank(request: Request) -> Response:
    """Rank candidates for a user in a context."""
    body = await server_of(request).ranker.rank_body(await request.body(), call_of(request))
    return Response(body, media_type="application/json")


@router.post("/rank/batch", response_class=Response, openapi_extra=wire(BatchRequestSchema, BATCH_RESPONSE))
async def rank_batch(request: Request) -> Response:
    """Answer many ranking requests in one body; a bad one spoils no other."""
    body = await server_of(request).ranker.rank_batch(await request.body(), call_of(request))
    return Response(body, media_type="application/json")
