"""Who may administer this server: whoever knows the token."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.errors import AdminDisabled, Unauthorized

_bearer = HTTPBearer(auto_error=False, description="RANKER_ADMIN_TOKEN of the server.")


def require_admin(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let the request pass if it carries the admin token.

    Raises:
        AdminDisabled: The server has no token.
        Unauthorized: The request has none, or another one.
    """
    token = request.app.state.server.settings.admin_token.get_secret_value()
    if not token:
        raise AdminDisabled("admin routes are off: this server has no token; set RANKER_ADMIN_TOKEN and restart it")
    given = credentials.credentials if credentials else ""
    # In constant time, so that how long a refusal takes does not tell how much of a guess was right.
    if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), token.encode()):
        raise Unauthorized("the admin token is missing or wrong; send `Authorization: Bearer TOKEN`")
