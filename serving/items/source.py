"""Where items come from: the item view of the feature store, or Parquet files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from feature_store import CursorExpired, EmbeddedStore, FeatureRow, FeatureStore, StoreConfig
from feature_store.parquet import Batch, ParquetSource
from serving.feature_plan import FeaturePlan

VIEW = "item"
_CHUNK_ROWS = 500  # encoded at once: some milliseconds

Chunk = tuple[list[str], Sequence[FeatureRow | None]]


class ItemReader(Protocol):
    """Reads items in one event loop."""

    def chunks(self, plan: FeaturePlan) -> AsyncIterator[Chunk]:
        """All items with the columns that a plan wants, and maybe more; of an id that comes repeatedly the last counts.

        Raises:
            StoreError: They cannot be read.
        """

    async def rows(self, ids: Sequence[str]) -> Sequence[FeatureRow | None]:
        """The rows of some items, `None` where there is none."""

    async def changes(self, cursor: str | None) -> tuple[list[str], str]:
        """Which items changed since a cursor, as `FeatureStore.changes` tells it; `None` begins here and now.

        Raises:
            CursorExpired: It cannot be told; all items have to be read anew.
            StoreError: It cannot be told just now.
        """


class ItemSource(Protocol):
    """Opens readers of the same items."""

    @property
    def key(self) -> str:
        """Sixteen hex digits that tell sources apart."""

    def open(self) -> AbstractAsyncContextManager[ItemReader]:
        """A reader for another event loop; it is closed at the end of the block."""


class StoreItems(NamedTuple):
    """Reads the item view of an open store."""

    store: FeatureStore

    async def chunks(self, plan: FeaturePlan) -> AsyncIterator[Chunk]:  # noqa: ARG002 (rows come whole)
        """All items; see `ItemReader`."""
        async for chunk in self.store.scan_rows(VIEW, chunk_rows=_CHUNK_ROWS):
            yield [entity_id for entity_id, _ in chunk], [row for _, row in chunk]

    async def rows(self, ids: Sequence[str]) -> Sequence[FeatureRow | None]:
        """The rows of some items; see `ItemReader`."""
        return await self.store.get_many(VIEW, ids)

    async def changes(self, cursor: str | None) -> tuple[list[str], str]:
        """Which items changed; see `ItemReader`."""
        return await self.store.changes(VIEW, cursor)


class StoreSource(NamedTuple):
    """The item view of a feature store."""

    config: StoreConfig

    @property
    def key(self) -> str:
        """Tells stores apart; see `ItemSource`."""
        config = self.config
        return _digest(
            str(config.path.resolve()) if isinstance(config, EmbeddedStore.Config) else config.model_dump_json()
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[StoreItems]:
        """The store opened anew; see `ItemSource`."""
        async with self.config.build() as store:
            yield StoreItems(store)


class ParquetItems(NamedTuple):
    """Reads items from Parquet files; a source of itself, since files can be read from anywhere.

    Attributes:
        path: A file, or a folder of them. Whoever writes them does so under another name, and renames.
        event_time: Column that tells when a row was true; `None`: rows have no event time.
    """

    path: Path
    event_time: str | None = None

    @property
    def key(self) -> str:
        """Tells paths apart; see `ItemSource`."""
        return _digest(f"{self.path.resolve()} {self.event_time}")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[ParquetItems]:
        """Itself; see `ItemSource`."""
        yield self

    async def chunks(self, plan: FeaturePlan) -> AsyncIterator[Chunk]:
        """All items; see `ItemReader`."""
        source = ParquetSource([self.path], VIEW, plan.item_key, self.event_time, list(plan.item))
        for batch in source.batches():
            yield batch.keys.to_pylist(), _rows(batch)

    async def rows(self, ids: Sequence[str]) -> Sequence[FeatureRow | None]:
        """Nobody asks: single changes are never told."""
        raise CursorExpired(f"rows of single items, like {ids[:3]}, cannot be read from '{self.path}'; read all anew")

    async def changes(self, cursor: str | None) -> tuple[list[str], str]:
        """Whether any file changed; see `ItemReader`."""
        state = await asyncio.to_thread(self._state)
        if cursor not in (None, state):
            raise CursorExpired(f"Parquet files in '{self.path}' changed; read all of them anew")
        return [], state

    def _state(self) -> str:
        """Names, sizes and times of all files."""
        files = sorted(self.path.rglob("*.parquet")) if self.path.is_dir() else [self.path]
        found = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.exists()]
        return _digest(repr(found))


def _rows(batch: Batch) -> list[FeatureRow]:
    names = tuple(batch.columns)
    values = zip(*(column.to_pylist() for column in batch.columns.values()), strict=True)
    times = [None] * len(batch.keys) if batch.event_times is None else batch.event_times.tolist()
    return [FeatureRow(dict(zip(names, row, strict=True)), time) for row, time in zip(values, times, strict=True)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
