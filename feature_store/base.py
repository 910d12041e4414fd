"""The contract of a feature store: features by entity id, in views."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec

from feature_store.catalog import Catalog
from feature_store.entity import EntityId, entity_key, entity_text
from feature_store.errors import InvalidRow, SchemaMismatch
from feature_store.rows import FeatureRow, RowDecoder, RowEncoder, read_header
from feature_store.view import ViewSchema, ViewStats

# One row to write: entity id, value by column, event time in unix seconds.
Row = tuple[EntityId, Mapping[str, Any], float | None]


class FeatureStore(ABC):
    """Features by entity id. Every store keeps these promises; `tests/feature_store/test_contract.py` holds it to them.

    **Order.** `get_many` answers one entry per id, in the order of the ids; an id asked twice is answered twice.

    **Missing is not null.** An entity without a row is None; a column without a value is None inside the row.

    **Ids are text.** 5 and "5" are one entity. Any text is a valid id but the empty one, which is always missing.

    **Writes replace whole rows.** A column that a written row does not name becomes null. The last write wins. Readers
    see each row wholly old or wholly new, and never wait for a writer, in this process or in another.

    **Expiry.** A row written with `ttl_seconds` is missing once that time is over. Writing it again without makes it
    stay. `max_age_seconds` hides rows whose event time is older; a row without one has an unknown age and counts as too
    old.

    **Schemas live beside each other.** Each row names the schema that it was written with, and a view keeps all that it
    ever had. `create_view(..., replace=True)` makes another schema the current one: from then on rows are written with
    it, while rows of earlier schemas still read, with their own columns, until they are written anew. So a nightly job
    may add columns under running readers; they see `row.values` with the old columns or with the new.

    **Errors.** `StoreUnavailable` when the store cannot do it now, which trying again may mend; `UnknownView` when
    nothing was ever created under that name; `SchemaMismatch` when a row's schema is not in the store; `InvalidRow`
    when a row to write does not fit, or an id is neither text nor an integer. No driver exception leaves a store.

    A store may be shared by the tasks of one event loop. It is an async context manager that closes itself.
    """

    # How much of a bulk write is held in memory and sent at once.
    chunk_rows: ClassVar[int]
    chunk_bytes: ClassVar[int] = 16 * 2**20

    def __init__(self) -> None:
        self._decoders: dict[str, RowDecoder] = {}

    async def views(self) -> tuple[str, ...]:
        """Names of all views, sorted."""
        return (await self._catalog()).views

    async def schema(self, view: str) -> ViewSchema | None:
        """The current schema of a view; None when there is no such view."""
        catalog = await self._catalog()
        return catalog.current(view) if view in catalog.views else None

    async def create_view(self, schema: ViewSchema, *, replace: bool = False) -> None:
        """Make `schema` the current one of its view. Doing so again changes nothing.

        Args:
            schema: The columns; `schema.view` names the view.
            replace: Take the place of another current schema. Rows stay, with the schema that they were written with.

        Raises:
            SchemaMismatch: The view has another schema and `replace` is False; names the columns that differ.
        """
        current = await self._register(schema.view, schema.hash, msgspec.json.encode(schema), replace)
        if current != schema.hash:
            present = (await self._catalog()).current(schema.view)
            raise SchemaMismatch(
                f"view '{schema.view}' has another schema in the store: {present.difference(schema)}; "
                "replace the schema on purpose (--replace-schema), or correct the columns"
            )

    async def get_many(
        self, view: str, entity_ids: Sequence[EntityId], *, max_age_seconds: float | None = None
    ) -> list[FeatureRow | None]:
        """The rows of many entities, in the order of the ids, None where there is none. One round trip.

        Args:
            view: Name of the view.
            entity_ids: Any number, repeats allowed.
            max_age_seconds: Treat rows with an older event time, or none, as missing; None takes any.

        Raises:
            UnknownView: No such view.
            SchemaMismatch: A row's schema is not in the store.
            StoreUnavailable: The store cannot be read now.
        """
        decoder = self._decoders.get(view) or await self._load_decoder(view)
        if not entity_ids:
            return []
        raws = await self._read(view, [entity_key(entity_id) for entity_id in entity_ids])
        now = time.time()
        oldest = None if max_age_seconds is None else now - _positive("max_age_seconds", max_age_seconds)
        try:
            return decoder.decode_many(entity_ids, raws, now, oldest)
        except SchemaMismatch:  # perhaps a schema newer than what this process knows
            decoder = await self._load_decoder(view)
            return decoder.decode_many(entity_ids, raws, now, oldest)

    async def scan_rows(self, view: str, *, chunk_rows: int = 5_000) -> AsyncIterator[list[tuple[str, FeatureRow]]]:
        """Every row of a view with its entity's id, in no particular order.

        What others write meanwhile may be there or not, and an entity may come more than once, with its newest row
        last. A reader that wants to stay up to date takes a cursor with `changes(view, None)` first.

        Args:
            view: Name of the view.
            chunk_rows: About how many rows to read at once.

        Raises:
            UnknownView: No such view.
            SchemaMismatch: A row's schema is not in the store.
            StoreUnavailable: The store cannot be read now.
        """
        await self._load_decoder(view)
        async for page in self._scan(view, chunk_rows):
            ids = [entity_text(key) for key, _ in page]
            raws = [raw for _, raw in page]
            try:
                rows = await asyncio.to_thread(self._decoders[view].decode_many, ids, raws, time.time())
            except SchemaMismatch:
                decoder = await self._load_decoder(view)
                rows = await asyncio.to_thread(decoder.decode_many, ids, raws, time.time())
            yield [(entity_id, row) for entity_id, row in zip(ids, rows, strict=True) if row is not None]

    async def changes(self, view: str, cursor: str | None) -> tuple[list[str], str]:
        """Which entities were written or deleted since a cursor: what keeps a copy of a view up to date.

        A change is told at the earliest when its row can be read. The log is bounded, and one call tells a part of it:
        the reader asks again until nothing more comes. A row that expires is not told; `FeatureRow.expires_at` says
        when it does.

        Args:
            view: Name of the view.
            cursor: What the call before returned; None begins here and now.

        Returns:
            Ids in the order of their changes, repeats possible, and the cursor for the next call.

        Raises:
            CursorExpired: The log no longer tells what came after `cursor`. Begin with None, and read the view anew.
            UnknownView: No such view.
            StoreUnavailable: The store cannot be read now; the same cursor may be tried again.
        """
        if view not in self._decoders:
            await self._load_decoder(view)
        keys, cursor = await self._changes(view, cursor)
        return [entity_text(key) for key in keys], cursor

    async def put_many(self, view: str, rows: Iterable[Row], *, ttl_seconds: float | None = None) -> int:
        """Write rows, each in the place of the entity's former one; of repeated ids the last wins.

        Rows are taken from `rows`, checked and written chunk by chunk in bounded memory, outside the event loop. An
        invalid row ends the call: no row of its chunk is written, those of earlier chunks are.

        Args:
            view: Name of the view; rows are written with its current schema.
            rows: Entity id, value by column, and event time (unix seconds, or None).
            ttl_seconds: Time after which the rows are missing; None: they stay.

        Returns:
            Number of rows written.

        Raises:
            UnknownView: No such view.
            InvalidRow: A row does not fit; names entity, column, value and fix.
            StoreUnavailable: The store cannot be written now.
        """
        expires_at = math.inf if ttl_seconds is None else time.time() + _positive("ttl_seconds", ttl_seconds)
        chunks = self._chunks(RowEncoder((await self._catalog()).current(view)), rows, expires_at)
        num_written = 0
        while chunk := await asyncio.to_thread(next, chunks, None):
            await self._write(view, chunk, None if ttl_seconds is None else expires_at)
            num_written += len(chunk)
        return num_written

    async def delete_many(self, view: str, entity_ids: Iterable[EntityId]) -> int:
        """Remove rows; ids without a row are fine.

        Returns:
            Number of rows removed.

        Raises:
            UnknownView: No such view.
        """
        await self._load_decoder(view)
        keys = [entity_key(entity_id) for entity_id in entity_ids]
        starts = range(0, len(keys), self.chunk_rows)
        return sum([await self._delete(view, keys[start : start + self.chunk_rows]) for start in starts])

    async def stats(self, view: str) -> ViewStats:
        """What a view holds. Reads the header of every row; while others write, the figures are approximate.

        Raises:
            UnknownView: No such view.
        """
        schema, now = (await self._catalog()).current(view), time.time()
        num_rows = num_older = num_bytes = 0
        oldest, newest = math.inf, -math.inf
        async for page in self._scan(view, self.chunk_rows):
            for _, raw in page:
                header = read_header(raw)
                if header.expires_at <= now:
                    continue
                num_rows += 1
                num_older += header.digest != schema.digest
                num_bytes += len(raw)
                if not math.isnan(header.event_time):
                    oldest, newest = min(oldest, header.event_time), max(newest, header.event_time)
        times = (oldest, newest) if newest > -math.inf else (None, None)
        return ViewStats(view, schema, num_rows, num_older, num_bytes, *times)

    async def __aenter__(self) -> Self:
        """The store itself; closed at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def _load_decoder(self, view: str) -> RowDecoder:
        decoder = (await self._catalog()).decoder(view)
        self._decoders[view] = decoder
        return decoder

    async def _catalog(self) -> Catalog:
        return Catalog(await self._read_catalog())

    def _chunks(
        self, encoder: RowEncoder, rows: Iterable[Row], expires_at: float
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        chunk: list[tuple[bytes, bytes]] = []
        num_bytes = 0
        for entity_id, values, event_time in rows:
            key = entity_key(entity_id)
            if not key:
                raise InvalidRow("entity id must not be empty, got ''; drop the row or give it an id")
            chunk.append((key, encoder.encode(entity_id, values, event_time, expires_at)))
            num_bytes += len(key) + len(chunk[-1][1])
            if len(chunk) >= self.chunk_rows or num_bytes >= self.chunk_bytes:
                yield chunk
                chunk, num_bytes = [], 0
        if chunk:
            yield chunk

    # What a store adds. Keys are `entity_key`s, never empty in `_write`; `_read` and `_delete` may meet an empty one.

    @abstractmethod
    async def ping(self) -> None:
        """Return if the store answers.

        Raises:
            StoreUnavailable: It does not.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release connections and files; doing so again is fine."""

    @abstractmethod
    async def _read_catalog(self) -> dict[str, bytes]:
        """All views: `view` -> hash of its current schema, `view/hash` -> that schema as JSON."""

    @abstractmethod
    async def _register(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        """In one atomic step add a schema and, if none is current or `replace`, make it so; the current hash."""

    @abstractmethod
    async def _read(self, view: str, keys: list[bytes]) -> list[bytes | None]:
        """Packed rows in the order of the keys, of which there is at least one."""

    @abstractmethod
    async def _write(self, view: str, chunk: list[tuple[bytes, bytes]], expires_at: float | None) -> None:
        """Write one chunk of keys and packed rows, in steps that are atomic for each row, and log them."""

    @abstractmethod
    async def _delete(self, view: str, keys: list[bytes]) -> int:
        """Remove one chunk of rows and log them; how many there were."""

    @abstractmethod
    def _scan(self, view: str, page_rows: int) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Key and packed row of every entity of a view, about `page_rows` at once."""

    @abstractmethod
    async def _changes(self, view: str, cursor: str | None) -> tuple[list[bytes], str]:
        """Keys logged after a cursor, oldest first, and the next cursor; None: no keys, and where the log ends now.

        Each write logs its keys in the same atomic step, so that no failure parts the two.
        """


def _positive(name: str, seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"`{name}` must be greater than 0 and finite, got {seconds}; use None for no limit")
    return seconds
