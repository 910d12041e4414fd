"""`POST /rank` and `POST /rank/batch`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from serving.deps import BodyDep, CallDep, ServerDep
from serving.openapi import BATCH_RESPONSE, wire
from serving.schemas import BatchRequestSchema, RankRequest, RankResponse

router = APIRouter(tags=["rank"])


@router.post("/rank", response_class=Response, openapi_extra=wire(RankRequest, RankResponse))
async def rank(body: BodyDep, server: ServerDep, call: CallDep) -> Response:
    """Rank candidates for a user in a context."""
    return Response(await server.ranker.rank_body(body, call), media_type="application/json")


@router.post("/rank/batch", response_class=Response, openapi_extra=wire(BatchRequestSchema, BATCH_RESPONSE))
async def rank_batch(body: BodyDep, server: ServerDep, call: CallDep) -> Response:
    """Answer many ranking requests in one body; a bad one spoils no other."""
    return Response(await server.ranker.rank_batch(body, call), media_type="application/json")
