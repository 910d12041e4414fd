"""Admin routes: policies of scenes, and which model is live. All of them need the token."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from serving.admin import entity_tag
from serving.deps import AdminDep, ScenePath, ServerDep
from serving.schemas import ModelView, PolicyRollback, PolicyUpdate, PolicyView

router = APIRouter(prefix="/admin", tags=["admin"], dependencies=[AdminDep])

IfMatch = Annotated[
    str | None,
    Header(description="ETag of the version that is changed, or *; needed once the scene has a policy of its own."),
]


@router.get("/policies/{scene}")
async def get_policy(scene: ScenePath, server: ServerDep, response: Response) -> PolicyView:
    """The policy that ranks a scene; its version is the ETag."""
    return _tagged(await server.policy_admin.view(scene), response)


@router.put("/policies/{scene}")
async def put_policy(
    scene: ScenePath, update: PolicyUpdate, server: ServerDep, response: Response, if_match: IfMatch = None
) -> PolicyView:
    """Change the policy of a scene; the next request is ranked by it."""
    return _tagged(await server.policy_admin.update(scene, update, if_match), response)


@router.get("/policies/{scene}/history")
async def get_policy_history(
    scene: ScenePath, server: ServerDep, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[PolicyView]:
    """Saved versions, newest first."""
    return await server.policy_admin.history(scene, limit)


@router.post("/policies/{scene}/rollback")
async def roll_back_policy(
    scene: ScenePath, wish: PolicyRollback, server: ServerDep, response: Response, if_match: IfMatch = None
) -> PolicyView:
    """Save an earlier version's terms as a new version."""
    return _tagged(await server.policy_admin.roll_back(scene, wish, if_match), response)


@router.get("/models")
async def get_models(server: ServerDep) -> list[ModelView]:
    """Published bundles, oldest first."""
    return await server.models.views()


@router.post("/models/{version}/activate")
async def activate_model(version: str, server: ServerDep) -> list[ModelView]:
    """Make a bundle current in the registry and live in this server, if it passes all checks."""
    await server.models.activate(version)
    return await server.models.views()


def _tagged(policy: PolicyView, response: Response) -> PolicyView:
    response.headers["ETag"] = entity_tag(policy.version)
    return policy
