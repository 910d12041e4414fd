"""One at a time: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from training.errors import AlreadyRunning, NightlyError


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file while the block runs.

    The kernel drops the lock when its holder dies, so there is nothing to clean up after `kill -9` or a power cut.

    Args:
        path: The lock file; made if it is not there, and left behind.
        what: Is locked, for messages.

    Raises:
        AlreadyRunning: Another process holds it; names that process.
        NightlyError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise NightlyError(
            f"{what} cannot be written: '{path}': {error.strerror}; mend its permissions or give another folder"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip() or "unknown"
            raise AlreadyRunning(f"{what} is in use by another nightly job ({holder}); wait for it to end") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases the lock
