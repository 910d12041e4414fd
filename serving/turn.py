"""Whose turn it is, of the workers of one server, to do what slows requests down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from serving.file_lock import file_lock

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 60.0


class Turn:
    """One worker at a time, so that all others serve at full speed meanwhile.

    Good manners and no more: the work is right whoever else does it. So a worker that has waited for long, or cannot
    tell whose turn it is, goes ahead. The turn of one that dies is over.

    Args:
        path: A file that the workers of a server have in common; `None`: there is one worker only.
        patience_seconds: How long a worker waits for its turn.
    """

    def __init__(self, path: Path | None, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._path = path
        self._patience_seconds = patience_seconds

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Wait for the turn of this worker; it lasts as long as the block."""
        async with AsyncExitStack() as stack:
            if self._path is not None:
                await self._wait(stack, self._path)
            yield

    async def _wait(self, stack: AsyncExitStack, path: Path) -> None:
        try:
            async with asyncio.timeout(self._patience_seconds):
                await stack.enter_async_context(file_lock(path))
        except (TimeoutError, OSError) as exc:
            logger.warning("this worker goes ahead out of its turn", extra={"reason": str(exc) or "others took long"})
