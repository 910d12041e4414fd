"""The embedded store: LMDB files in a directory, read by any number of processes while one writes."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import lmdb
from pydantic import BaseModel, ConfigDict, Field

from feature_store.backend import Packed
from feature_store.base import FeatureStore
from feature_store.embedded.change_log import ChangeLog
from feature_store.embedded.environment import SharedEnvironment, acquire, hold, release
from feature_store.embedded.keys import CATALOG, RowKeys
from feature_store.embedded.sweep import Sweep
from feature_store.errors import StoreUnavailable
from feature_store.packing import ChunkSize
from feature_store.rows import read_header

_SWEPT_ROWS = 100  # looked at with each write, and half as many more as it has rows


class EmbeddedStore(FeatureStore):
    """LMDB: memory-mapped B+tree files with one writer and lock-free readers.

    Reads run right in the event loop: a look-up is a microsecond when the file is in the page cache, which a thread
    would only add to. Writes go to a thread, because a writer waits for the disk and for other writers.

    The file opens on first use and is made by the first `create_view`. Once another directory is in its place it opens
    that one. Expired rows are hidden from readers, and removed by and by as others are written, or by `sweep`; the file
    does not shrink, but their space is used again.
    """

    chunk_size = ChunkSize(20_000, 16 * 2**20)  # one transaction, so one fsync

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
            fields = {}
            found = cursor.set_range(CATALOG)
            while found and cursor.key().startswith(CATALOG):
                fields[cursor.key()[len(CATALOG) :].decode()] = cursor.value()
                found = cursor.next()
            return fields

    async def _register(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        return await asyncio.to_thread(self._register_now, view, schema_hash, document, replace)

    def _register_now(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        current = CATALOG + view.encode()
        with self._transaction(write=True, create=True) as txn:
            txn.put(current + b"/" + schema_hash.encode(), document)
            txn.put(current, schema_hash.encode(), overwrite=replace)
            return (txn.get(current) or b"").decode()

    async def _read(self, wanted: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes | None]]:
        found = {}
        with self._transaction() as txn:
            for view, entities in wanted.items():
                rows = RowKeys(view)
                keys = rows.keys(entities)
                found[view] = [rows.raw(key, value) for key, value in zip(keys, map(txn.get, keys), strict=True)]
        return found

    async def _write(self, view: str, chunk: list[Packed], expires_at: float | None) -> None:
        await asyncio.to_thread(self._write_now, view, chunk, expires_at)

    def _write_now(self, view: str, chunk: list[Packed], expires_at: float | None) -> None:
        with self._writing(view, len(chunk)) as txn:
            self._put(txn, view, [entity for entity, _ in chunk], [raw for _, raw in chunk])
            if expires_at is not None:
                Sweep(view).begin(txn)

    async def _update(self, view: str, keys: list[bytes], change: Callable[[int, bytes | None], bytes]) -> None:
        await asyncio.to_thread(self._update_now, view, keys, change)

    def _update_now(self, view: str, entities: list[bytes], change: Callable[[int, bytes | None], bytes]) -> None:
        rows = RowKeys(view)
        with self._writing(view, len(entities)) as txn:
            found = [rows.raw(key, txn.get(key)) for key in rows.keys(entities)]
            raws = [change(place, raw) for place, raw in enumerate(found)]
            self._put(txn, view, entities, raws)
            if any(read_header(raw).expires_at < math.inf for raw in raws):
                Sweep(view).begin(txn)

    def _put(self, txn: lmdb.Transaction[bytes], view: str, entities: list[bytes], raws: list[bytes]) -> None:
        rows = RowKeys(view)
        keys = rows.keys(entities)
        values = {key: rows.value(key, *row) for key, *row in zip(keys, entities, raws, strict=True)}
        with txn.cursor() as cursor:
            cursor.putmulti(sorted(values.items()))  # in order each page is touched once, which spares the disk
        ChangeLog(view).append(txn, entities)

    async def _delete(self, view: str, rows: list[tuple[bytes, bytes | None]]) -> int:
        return await asyncio.to_thread(self._delete_now, view, rows)

    def _delete_now(self, view: str, chunk: list[tuple[bytes, bytes | None]]) -> int:
        rows = RowKeys(view)
        deleted: list[bytes] = []
        with self._writing(view, len(chunk)) as txn:
            for key, (entity, expected) in zip(rows.keys([entity for entity, _ in chunk]), chunk, strict=True):
                if (expected is None or rows.raw(key, txn.get(key)) == expected) and txn.delete(key):
                    deleted.append(entity)
            if deleted:
                ChangeLog(view).append(txn, deleted)
        return len(deleted)

    async def _scan(self, view: str, page_rows: int) -> AsyncIterator[list[Packed]]:
        rows = RowKeys(view)
        start: bytes | None = rows.prefix
        while start is not None:
            page, start = await asyncio.to_thread(self._page, rows, start, page_rows)
            yield page

    def _page(self, rows: RowKeys, start: bytes, page_rows: int) -> tuple[list[Packed], bytes | None]:
        """Some rows from a key on, and the key to go on from: writers can reuse pages once a snapshot is let go."""
        page: list[Packed] = []
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

    @contextmanager
    def _writing(self, view: str, num_rows: int) -> Iterator[lmdb.Transaction[bytes]]:
        with self._transaction(write=True) as txn:
            yield txn
            Sweep(view).advance(txn, _SWEPT_ROWS + num_rows // 2)

    @contextmanager
    def _transaction(self, write: bool = False, create: bool = False) -> Iterator[lmdb.Transaction[bytes]]:
        shared = self._held(create)
        try:
            env = shared.get()
            if write:
                env.reader_check()  # readers that were killed would keep old pages from reuse
            with env.begin(write=write) as txn:
                yield txn
        except lmdb.Error as exc:
            raise self._unavailable(exc) from exc
        finally:
            release(shared)

    def _held(self, create: bool) -> SharedEnvironment:
        """The environment, with one user more: a close meanwhile waits for the transaction."""
        config = self.config
        with self._opening:
            if self._shared is not None and self._shared.is_replaced(config.path):
                release(self._shared)
                self._shared = None
            if self._shared is None:
                self._shared = acquire(config.path, config.map_size_bytes, config.readonly, create)
            hold(self._shared)
            return self._shared

    def _unavailable(self, cause: lmdb.Error) -> StoreUnavailable:
        path, map_size_bytes = self.config.path, self.config.map_size_bytes
        if isinstance(cause, (lmdb.MapFullError, lmdb.MapResizedError)):
            return StoreUnavailable(
                f"LMDB store '{path}' is larger than `map_size_bytes` = {map_size_bytes}; "
                "raise it, in every process that uses the store"
            )
        if isinstance(cause, lmdb.ReadonlyError):
            return StoreUnavailable(
                f"LMDB store '{path}' was opened with `readonly` and cannot be written; open it without"
            )
        return StoreUnavailable(f"LMDB store '{path}' failed: {cause}; check the disk and the file")
