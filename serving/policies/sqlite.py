"""Policies in one SQLite file: the embedded default, shared by the processes of one machine."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from ranker.fusion import FusionPolicy
from ranker.schema import FrozenConfig
from serving.errors import PolicyStoreUnavailable
from serving.policies.base import PolicyStore, SavedPolicy, conflict, parse_saved, saved_now

T = TypeVar("T")

_RETRY_SECONDS = 0.02

# `revision` orders the saves of all scenes; a save is one row and never changes.
_TABLE = """
CREATE TABLE IF NOT EXISTS policies (
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    scene TEXT NOT NULL,
    version INTEGER NOT NULL,
    saved TEXT NOT NULL,
    UNIQUE (scene, version)
)"""
_LIVE = "SELECT saved, max(version) FROM policies GROUP BY scene"
_NEWEST_VERSION = "SELECT coalesce(max(version), 0) FROM policies WHERE scene = ?"


class SQLitePolicyStore(PolicyStore):
    """Policies in an SQLite file in write-ahead mode. One thread of its own does all the blocking work."""

    class Config(FrozenConfig):
        """Where the file is."""

        backend: Literal["sqlite"] = "sqlite"
        path: Path = Field(Path("policies.sqlite"), description="Database file; made on first use.")
        busy_timeout_seconds: float = Field(5.0, gt=0, description="How long a save waits for another process's save.")

        def build(self) -> SQLitePolicyStore:
            """The store; the file is opened on first use."""
            return SQLitePolicyStore(self)

    def __init__(self, config: Config) -> None:
        self._config = config
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policies")
        self._connection: sqlite3.Connection | None = None  # touched by that thread only

    async def revision(self) -> int:
        """See `PolicyStore`."""
        return await self._run(
            lambda db: int(db.execute("SELECT coalesce(max(revision), 0) FROM policies").fetchone()[0])
        )

    async def live(self) -> Mapping[str, SavedPolicy]:
        """See `PolicyStore`."""
        rows = await self._run(lambda db: db.execute(_LIVE).fetchall())
        return {policy.scene: policy for policy in (parse_saved(row[0]) for row in rows)}

    async def get(self, scene: str, version: int | None = None) -> SavedPolicy | None:
        """See `PolicyStore`."""
        query = (
            "SELECT saved FROM policies WHERE scene = ? AND (version = ? OR ? IS NULL) ORDER BY version DESC LIMIT 1"
        )
        row = await self._run(lambda db: db.execute(query, (scene, version, version)).fetchone())
        return parse_saved(row[0]) if row else None

    async def history(self, scene: str, limit: int = 100) -> list[SavedPolicy]:
        """See `PolicyStore`."""
        query = "SELECT saved FROM policies WHERE scene = ? ORDER BY version DESC LIMIT ?"
        rows = await self._run(lambda db: db.execute(query, (scene, limit)).fetchall())
        return [parse_saved(row[0]) for row in rows]

    async def save(
        self, scene: str, policy: FusionPolicy, *, author: str, comment: str = "", expected_version: int | None = None
    ) -> SavedPolicy:
        """See `PolicyStore`."""

        def append(db: sqlite3.Connection) -> SavedPolicy:
            db.execute("BEGIN IMMEDIATE")  # takes the write lock before reading, so that no other save comes between
            with db:
                newest = int(db.execute(_NEWEST_VERSION, (scene,)).fetchone()[0])
                if expected_version is not None and expected_version != newest:
                    raise conflict(scene, expected_version, newest)
                saved = saved_now(scene, newest + 1, policy, author, comment)
                row = (scene, saved.version, saved.model_dump_json())
                db.execute("INSERT INTO policies (scene, version, saved) VALUES (?, ?, ?)", row)
            return saved

        return await self._run(append)

    async def close(self) -> None:
        """See `PolicyStore`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._connection = self._connection or self._connect()
            return work(self._connection)
        except (sqlite3.Error, OSError) as exc:
            self._disconnect()  # the next call opens the file anew: it may have been replaced or restored
            raise PolicyStoreUnavailable(
                f"policy store '{self._config.path}' cannot be used: {exc}; check RANKER_POLICIES__PATH, "
                "its folder's permissions and the disk"
            ) from exc

    def _connect(self) -> sqlite3.Connection:
        deadline = time.monotonic() + self._config.busy_timeout_seconds
        while True:
            try:
                return self._open()
            except sqlite3.OperationalError as exc:
                # Two processes that turn a new file to write-ahead mode at once: SQLite refuses one without waiting.
                if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_SECONDS)

    def _open(self) -> sqlite3.Connection:
        self._config.path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._config.path, timeout=self._config.busy_timeout_seconds, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")  # a saved policy outlives a power cut
            db.execute(_TABLE)
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
