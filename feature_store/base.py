"""The contract of a feature store: features by entity id, in views."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

import msgspec

from feature_store.encoder import RowEncoder
from feature_store.entity import EntityId, entity_key
from feature_store.errors import SchemaMismatch
from feature_store.packing import Row, pack
from feature_store.patch import Patch, Patcher, patches
from feature_store.reader import FeatureReader, positive
from feature_store.rows import read_header
from feature_store.statistics import Tally, ViewStats
from feature_store.view import ViewSchema


class FeatureStore(FeatureReader):
    """Features by entity id. Every store keeps these promises; `tests/feature_store/test_contract.py` holds it to them.

    **Order.** `get_many` answers one entry per id, in the order of the ids; an id asked twice is answered twice.

    **Missing is not null.** An entity without a row is None; a column without a value is None inside the row.

    **Ids are text.** 5 and "5" are one entity. Any text is a valid id but the empty one, which is always missing.

    **Writes.** `put_many` replaces whole rows: a column that a written row does not name becomes null. `update_many`
    changes the columns named and keeps the others, whoever else writes. The last write wins. Readers see each row
    wholly old or wholly new, and never wait for a writer, in this process or in another.

    **Expiry.** A row written with `ttl_seconds` is missing once that time is over. Writing it again without makes it
    stay. `max_age_seconds` hides rows whose event time is older; a row without one has an unknown age and counts as too
    old.

    **Schemas live beside each other.** Each row names the schema that it was written with, and a view keeps all that it
    ever had. `create_view(..., replace=True)` makes another schema the current one: from then on rows are written with
    it, while rows of earlier schemas still read, with their own columns, until they are written anew. So a nightly job
    may add columns under running readers; they see `row.values` with the old columns or with the new.

    **Changes are told.** Each write logs the entities that it touches, in the same atomic step. `changes` tells them to
    readers that keep a copy, and tells those that fell behind to read the view anew with `scan_rows`.

    **Errors.** `StoreUnavailable` when the store cannot do it now, which trying again may mend; `UnknownView` when
    nothing was ever created under that name; `SchemaMismatch` when a row's schema is not in the store; `InvalidRow`
    when a row to write does not fit, or an id is neither text nor an integer. No driver exception leaves a store.

    A store may be shared by the tasks of one event loop. It is an async context manager that closes itself.
    """

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
        expires_at = _expiry(ttl_seconds)
        encoder = RowEncoder((await self._catalog()).current(view))
        chunks = pack(encoder, rows, math.inf if expires_at is None else expires_at, self.chunk_size)
        num_written = 0
        while chunk := await asyncio.to_thread(next, chunks, None):
            await self._write(view, chunk, expires_at)
            num_written += len(chunk)
        return num_written

    async def update_many(self, view: str, rows: Iterable[Row], *, ttl_seconds: float | None = None) -> int:
        """Change some columns of rows and keep the others; an entity without a row gets one, with nulls elsewhere.

        Each row changes in one atomic step: of two updates of different columns at the same time both stay. It is
        written with the view's current schema. An invalid row ends the call, as in `put_many`.

        Args:
            view: Name of the view.
            rows: Entity id, new value by column, and event time (unix seconds; None keeps the row's own).
            ttl_seconds: Time after which the rows are missing; None: as before.

        Returns:
            Number of entities written, one counted again in each chunk that names it.

        Raises:
            UnknownView: No such view.
            InvalidRow: A value does not fit; names entity, column, value and fix.
            SchemaMismatch: A row that is there cannot be read.
            StoreUnavailable: The store cannot be written now.
        """
        expires_at = _expiry(ttl_seconds)
        chunks = patches(rows, self.chunk_size.num_rows)
        num_written = 0
        while chunk := await asyncio.to_thread(next, chunks, None):
            await self._patch(view, chunk, expires_at)
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
        keys: list[tuple[bytes, bytes | None]] = [(entity_key(entity_id), None) for entity_id in entity_ids]
        starts = range(0, len(keys), self.chunk_size.num_rows)
        return sum([await self._delete(view, keys[start : start + self.chunk_size.num_rows]) for start in starts])

    async def sweep(self, view: str, *, older_schemas: bool = False) -> int:
        """Remove the rows that expired, and give their space back to the store; a row written meanwhile stays.

        Args:
            view: Name of the view.
            older_schemas: Remove rows of earlier schemas, too.

        Returns:
            Number of rows removed.

        Raises:
            UnknownView: No such view.
            StoreUnavailable: The store cannot be written now.
        """
        current, now = (await self._catalog()).current(view), time.time()
        num_removed = 0
        async for page in self._scan(view, self.chunk_size.num_rows):
            dead: list[tuple[bytes, bytes | None]] = []
            for key, raw in page:
                header = read_header(raw)
                if header.expires_at <= now or (older_schemas and header.digest != current.digest):
                    dead.append((key, raw))
            num_removed += await self._delete(view, dead) if dead else 0
        return num_removed

    async def stats(self, view: str) -> ViewStats:
        """What a view holds. Reads every row; while others write, the figures are approximate.

        Raises:
            UnknownView: No such view.
        """
        tally = Tally((await self._catalog()).current(view), time.time())
        async for page in self._scan(view, self.chunk_size.num_rows):
            tally.add(raw for _, raw in page)
        return tally.stats()

    async def __aenter__(self) -> Self:
        """The store itself; closed at the end of the block."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def _patch(self, view: str, chunk: dict[bytes, Patch], expires_at: float | None) -> None:
        keys, changes = list(chunk), list(chunk.values())
        try:
            await self._update(view, keys, await self._change(view, changes, expires_at))
        except SchemaMismatch:  # perhaps a schema that came after the catalog was read
            await self._update(view, keys, await self._change(view, changes, expires_at))

    async def _change(
        self, view: str, changes: Sequence[Patch], expires_at: float | None
    ) -> Callable[[int, bytes | None], bytes]:
        catalog = await self._catalog()
        patcher = Patcher(catalog.current(view), catalog.decoder(view), time.time(), expires_at)
        return lambda place, raw: patcher.apply(changes[place], raw)


def _expiry(ttl_seconds: float | None) -> float | None:
    return None if ttl_seconds is None else time.time() + positive("ttl_seconds", ttl_seconds)
