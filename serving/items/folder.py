"""Where built item tables are kept, so that a restart or another worker maps one in place of building it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ranker.atomic import PARTIAL_SUFFIX
from serving.file_lock import file_lock

_KEPT_KEYS = 3  # the live model's, the one before, and one that is being tried
_LOCK = ".lock"


class TableFolder:
    """The tables of one encoding of one view.

    <root>/<key>/<name>/   a table each; names sort by time
    <root>/<key>/.lock     held by whoever builds one

    Args:
        root: Folder of all of them.
        key: Names the encoding and the source; tables of the same key can stand for each other.
    """

    def __init__(self, root: Path, key: str) -> None:
        self._root = root
        self._path = root / key

    def newest(self, besides: Collection[str] = ()) -> str | None:
        """Name of the newest table; `None` if there is none but those in `besides`."""
        names = [name for name in self._names() if name not in besides]
        return max(names, default=None)

    def new(self) -> str:
        """A name for the next table."""
        return f"{time.time_ns():020d}"

    def path(self, name: str) -> Path:
        """Folder of a table."""
        return self._path / name

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Be the only one to build. What a killed builder left behind is cleared away, before and after.

        Raises:
            OSError: The folder cannot be written.
        """
        self._path.mkdir(parents=True, exist_ok=True)
        async with file_lock(self._path / _LOCK):
            self._clear()
            try:
                yield
            finally:
                self._clear()

    def prune(self, keep: str) -> None:
        """Remove older tables, and those of keys not used for the longest. Whoever has mapped one keeps it."""
        for name in self._names():
            if name < keep:
                shutil.rmtree(self.path(name), ignore_errors=True)
        os.utime(self._path)
        keys = sorted((path for path in self._root.iterdir() if path.is_dir()), key=_last_used, reverse=True)
        for path in keys[_KEPT_KEYS:]:
            shutil.rmtree(path, ignore_errors=True)

    def _clear(self) -> None:
        for leftover in self._path.glob(f".*{PARTIAL_SUFFIX}"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _names(self) -> list[str]:
        if not self._path.is_dir():
            return []
        return [path.name for path in self._path.iterdir() if path.is_dir() and path.name[0] != "."]


def _last_used(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
