"""The embedded store: LMDB files in a directory, read by any number of processes while one writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import lmdb
from pydantic import BaseModel, ConfigDict, Field

from feature_store.base import FeatureStore
from feature_store.embedded.change_log import ChangeLog
from feature_store.embedded.environment import SharedEnvironment, acquire, release
from feature_store.embedded.keys import CATALOG, RowKeys
from feature_store.errors import StoreUnavailable


class EmbeddedStore(FeatureStore):
    """LMDB: memory-mapped B+tree files with one writer and lock-free readers.

    Reads run right in the event loop: a look-up is a microsecond when the file is in the page cache, which a thread
    would only add to. Writes go to a thread, because a writer waits for the disk and for other writers.

    The file opens on first use and is made by the first `create_view`. Expired rows are hidden from readers; their
    space is used again once the entity is written anew or deleted.
    """

    chunk_rows = 20_000  # one transaction, so one fsync

    class Config(BaseModel):
        """Where the files are."""

        model_config = ConfigDict(frozen=True, extra="forbid")

        backend: Literal["lmdb"] = "lmdb"
        path: Path = Field(description="Directory of the LMDB files.")
        map_size_bytes: int = Field(
            64 * 2**30, ge=2**20, description="Upper bound of the file. It costs address space only; the file grows."
        )
        readonly: bool = Field(False, description="Never write; the directory may belong to another user.")

        def build(self) -> EmbeddedStore:
            """The store; no file is touched before its first use."""
            return EmbeddedStore(self)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self._shared: SharedEnvironment | None = None
        self._opening = threading.Lock()  # reads open it in the event loop, writes in a thread

    async def ping(self) -> None:
        """Return if the file can be read."""
        await self._read_catalog()

    async def close(self) -> None:
        """Close the file unless another store of this process uses it."""
        with self._opening:
            if self._shared is not None:
                release(self._shared)
            self._shared = None

    async def _read_catalog(self) -> dict[str, bytes]:
        with self._transaction() as txn, txn.cursor() as cursor:
            if not cursor.set_range(CATALOG):
                return {}
            fields = {}
            for key, value in cursor:
                if not key.startswith(CATALOG):
                    break
                fields[key[len(CATALOG) :].decode()] = value
            return fields

    async def _register(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        return await asyncio.to_thread(self._register_now, view, schema_hash, document, replace)

    def _register_now(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        current = CATALOG + view.encode()
        with self._transaction(write=True, create=True) as txn:
            txn.put(current + b"/" + schema_hash.encode(), document)
            txn.put(current, schema_hash.encode(), overwrite=replace)
            return (txn.get(current) or b"").decode()

    async def _read(self, view: str, keys: list[bytes]) -> list[bytes | None]:
        rows = RowKeys.of(view)
        stored = [rows.key(key) for key in keys]
        with self._transaction() as txn, txn.cursor() as cursor:
            found = dict(cursor.getmulti(stored))
        return [rows.row(key, found[key])[1] if key in found else None for key in stored]

    async def _write(self, view: str, chunk: list[tuple[bytes, bytes]], expires_at: float | None) -> None:  # noqa: ARG002 (the packed rows say when they expire)
        await asyncio.to_thread(self._write_now, view, chunk)

    def _write_now(self, view: str, chunk: list[tuple[bytes, bytes]]) -> None:
        rows = RowKeys.of(view)
        with self._transaction(write=True) as txn, txn.cursor() as cursor:
            # Sorted keys touch each page once, and spare the disk most of its work.
            cursor.putmulti(sorted({rows.key(key): rows.value(key, raw) for key, raw in chunk}.items()))
            ChangeLog(view).append(txn, [key for key, _ in chunk])

    async def _delete(self, view: str, keys: list[bytes]) -> int:
        return await asyncio.to_thread(self._delete_now, view, keys)

    def _delete_now(self, view: str, keys: list[bytes]) -> int:
        rows = RowKeys.of(view)
        with self._transaction(write=True) as txn:
            deleted = [key for key in keys if txn.delete(rows.key(key))]
            if deleted:
                ChangeLog(view).append(txn, deleted)
            return len(deleted)

    async def _scan(self, view: str, page_rows: int) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        rows = RowKeys.of(view)
        start: bytes | None = rows.prefix
        while start is not None:
            page, start = await asyncio.to_thread(self._page, rows, start, page_rows)
            yield page

    def _page(self, rows: RowKeys, start: bytes, page_rows: int) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Some rows from a key on, and the key to go on from: writers can reuse pages once a snapshot is let go."""
        page: list[tuple[bytes, bytes]] = []
        with self._transaction() as txn, txn.cursor() as cursor:
            found = cursor.set_range(start)
            while found and cursor.key().startswith(rows.prefix):
                if len(page) == page_rows:
                    return page, cursor.key()
                page.append(rows.row(*cursor.item()))
                found = cursor.next()
        return page, None

    async def _changes(self, view: str, cursor: str | None) -> tuple[list[bytes], str]:
        with self._transaction() as txn:
            return ChangeLog(view).since(txn, cursor)

    def _environment(self, create: bool) -> lmdb.Environment:
        with self._opening:
            if self._shared is None:
                config = self.config
                self._shared = acquire(config.path, config.map_size_bytes, config.readonly, create)
            return self._shared.get()

    @contextmanager
    def _transaction(self, write: bool = False, create: bool = False) -> Iterator[lmdb.Transaction[bytes]]:
        env = self._environment(create)
        try:
            with env.begin(write=write) as txn:
                yield txn
        except (lmdb.MapFullError, lmdb.MapResizedError) as exc:
            raise StoreUnavailable(
                f"LMDB store '{self.config.path}' is larger than `map_size_bytes` = {self.config.map_size_bytes}; "
                "raise it, in every process that uses the store"
            ) from exc
        except lmdb.ReadonlyError as exc:
            raise StoreUnavailable(
                f"LMDB store '{self.config.path}' was opened with `readonly` and cannot be written; open it without"
            ) from exc
        except lmdb.Error as exc:
            raise StoreUnavailable(
                f"LMDB store '{self.config.path}' failed: {exc}; check the disk and the file"
            ) from exc
