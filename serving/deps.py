"""What routes may ask for, as annotated aliases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Path, Request

from serving.admin import PolicyAdmin
from serving.auth import require_admin
from serving.features import FeatureSource
from serving.models import Models
from serving.policies import PolicyCache
from serving.ranking import Ranker
from serving.request_log import RequestLog
from serving.schemas import SCENE_PATTERN
from serving.settings import Settings
from serving.telemetry import Metrics


@dataclass(frozen=True, slots=True)
class Server:
    """The parts of one running server."""

    settings: Settings
    metrics: Metrics
    features: FeatureSource
    models: Models
    policies: PolicyCache
    log: RequestLog
    ranker: Ranker
    policy_admin: PolicyAdmin


def _server(request: Request) -> Server:
    return cast(Server, request.app.state.server)


async def _body(request: Request) -> bytes:
    return await request.body()


def _request_id(request: Request) -> str:
    return cast(str, request.state.request_id)


ServerDep = Annotated[Server, Depends(_server)]
BodyDep = Annotated[bytes, Depends(_body)]
RequestIdDep = Annotated[str, Depends(_request_id)]
AdminDep = Depends(require_admin)
ScenePath = Annotated[str, Path(pattern=SCENE_PATTERN, description="Where the ranking is shown, like home.")]
