"""Whether a server can rank, and what is not as it should be although it can."""

from __future__ import annotations

from serving.deps import Server
from serving.schemas import Readiness


async def readiness(server: Server) -> Readiness:
    """What the server ranks with, and warnings.

    Raises:
        NotReady: It cannot rank; says why and what to do.
    """
    engine = server.models.live()
    warnings = (server.models.warning, await server.features.trouble(), server.policies.trouble)
    return Readiness(
        model_version=engine.version, warnings=tuple(warning for warning in warnings if warning is not None)
    )
