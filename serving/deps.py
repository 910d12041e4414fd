"""What routes may ask for: as annotated aliases, or of a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Path, Request

from serving.admin import PolicyAdmin
from serving.auth import require_admin
from serving.call import Call
from serving.drain import Drain
from serving.features import FeatureSource
from serving.metrics import Metrics
from serving.models import Models
from serving.policies import PolicyCache
from serving.ranking import Ranker
from serving.request_log import RequestLog
from serving.schemas import SCENE_PATTERN
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of one running server."""

    settings: Settings
    metrics: Metrics
    drain: Drain
    features: FeatureSource
    models: Models
    policies: PolicyCache
    log: RequestLog
    ranker: Ranker
    policy_admin: PolicyAdmin


def server_of(request: Request) -> Server:
    """The server that a request came to."""
    return cast(Server, request.app.state.server)


def call_of(request: Request) -> Call:
    """What a ranking request came with."""
    state = request.state
    return Call(state.request_id, state.deadline, state.timeline)


# Coroutines: FastAPI sends plain functions to a thread and back, for every request.


async def _server(request: Request) -> Server:
    return server_of(request)


async def _body(request: Request) -> bytes:
    return await request.body()


ServerDep = Annotated[Server, Depends(_server)]
BodyDep = Annotated[bytes, Depends(_body)]
AdminDep = Depends(require_admin)
ScenePath = Annotated[str, Path(pattern=SCENE_PATTERN, description="Where the ranking is shown, like home.")]
