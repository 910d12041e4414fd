"""Whether a server can rank, and what is not as it should be although it can."""

from __future__ import annotations

from serving.deps import Server
from serving.errors import NotReady
from serving.fallback import MODEL_VERSION
from serving.schemas import Readiness


async def readiness(server: Server) -> Readiness:
    """What the server ranks with, and warnings.

    Raises:
        NotReady: It cannot rank; says why and what to do.
    """
    if server.drain.draining:
        raise NotReady("this server is stopping; send requests to another one")
    without_model = server.models.problem is not None and server.settings.fallback.enabled
    version = MODEL_VERSION if without_model else server.models.live().version
    model_warning = server.models.problem if without_model else server.models.warning
    warnings = (model_warning, await server.features.trouble(), server.policies.trouble)
    return Readiness(model_version=version, warnings=tuple(warning for warning in warnings if warning is not None))
