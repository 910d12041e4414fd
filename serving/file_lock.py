"""A lock between processes, on a file: it ends with the process that holds it, whatever ends that."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_LOOK_SECONDS = 0.05


@asynccontextmanager
async def file_lock(path: Path) -> AsyncIterator[None]:
    """Be the only one, of all processes and tasks, that is in such a block.

    Args:
        path: Of the file; made if it is not there. It stays, and is empty.

    Raises:
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        while not _acquired(descriptor):  # noqa: ASYNC110 (another process has it)
            await asyncio.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def _acquired(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
