"""`POST /feedback`."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Response

from serving.deps import BodyDep, ServerDep
from serving.errors import ACCEPTED
from serving.openapi import wire
from serving.schemas import Accepted, FeedbackBody

router = APIRouter(tags=["feedback"])


@router.post(
    "/feedback", status_code=ACCEPTED, response_class=Response, openapi_extra=wire(FeedbackBody, Accepted, ACCEPTED)
)
async def feedback(body: BodyDep, server: ServerDep) -> Response:
    """Report what happened to ranked items: one event, or a list of them."""
    accepted = Accepted(server.log.feedback_body(body))
    return Response(msgspec.json.encode(accepted), status_code=ACCEPTED, media_type="application/json")
