"""What reads features: rows by id, whole views, and what changed in them."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Concatenate, ParamSpec, TypeVar

from feature_store.backend import Backend
from feature_store.catalog import Catalog
from feature_store.decoder import FeatureColumns, RowDecoder
from feature_store.entity import EntityId, entity_key, entity_text
from feature_store.errors import SchemaMismatch
from feature_store.rows import FeatureRow
from feature_store.view import ViewSchema

_P = ParamSpec("_P")
_T = TypeVar("_T")


class FeatureReader(Backend):
    """The part of a `FeatureStore` that reads."""

    def __init__(self) -> None:
        self._decoders: dict[str, RowDecoder] = {}

    async def views(self) -> tuple[str, ...]:
        """Names of all views, sorted."""
        return (await self._catalog()).views

    async def schema(self, view: str) -> ViewSchema | None:
        """The current schema of a view; None when there is no such view."""
        catalog = await self._catalog()
        return catalog.current(view) if view in catalog.views else None

    async def schemas(self, view: str) -> tuple[ViewSchema, ...]:
        """All schemas that a view ever had, the current one among them; none when there is no such view."""
        return (await self._catalog()).schemas(view)

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
        return (await self.get_views({view: entity_ids}, max_age_seconds=max_age_seconds))[view]

    async def get_views(
        self, wanted: Mapping[str, Sequence[EntityId]], *, max_age_seconds: float | None = None
    ) -> dict[str, list[FeatureRow | None]]:
        """The rows of many entities of several views, as `get_many` gives them for each, in one round trip.

        Args:
            wanted: Ids by view.
            max_age_seconds: As in `get_many`.
        """
        now = time.time()
        oldest = _oldest(now, max_age_seconds)
        raws = await self._fetch(wanted)
        return {
            view: await self._decoded(view, RowDecoder.decode_many, ids, raws[view], now, oldest)
            for view, ids in wanted.items()
        }

    async def get_columns(
        self,
        view: str,
        entity_ids: Sequence[EntityId],
        names: Sequence[str],
        *,
        max_age_seconds: float | None = None,
    ) -> FeatureColumns:
        """Some columns of many entities, in the order of the ids: `get_many` for whoever wants columns, and faster.

        Args:
            view: Name of the view.
            entity_ids: Any number, repeats allowed.
            names: Columns; one that a row's schema does not have is null.
            max_age_seconds: As in `get_many`.

        Raises:
            UnknownView: No such view.
            SchemaMismatch: A row's schema is not in the store.
            StoreUnavailable: The store cannot be read now.
        """
        now = time.time()
        oldest = _oldest(now, max_age_seconds)
        raws = (await self._fetch({view: entity_ids}))[view]
        return await self._decoded(view, RowDecoder.decode_columns, names, entity_ids, raws, now, oldest)

    async def scan_rows(self, view: str, *, chunk_rows: int = 1_000) -> AsyncIterator[list[tuple[str, FeatureRow]]]:
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
        async for chunk in self.scan_packed(view, chunk_rows=chunk_rows):
            ids, raws = [entity_id for entity_id, _ in chunk], [raw for _, raw in chunk]
            rows = await self._decoded(view, RowDecoder.decode_many, ids, raws, time.time())
            yield [(entity_id, row) for entity_id, row in zip(ids, rows, strict=True) if row is not None]

    async def scan_packed(self, view: str, *, chunk_rows: int = 1_000) -> AsyncIterator[list[tuple[str, bytes]]]:
        """As `scan_rows`, but the packed rows as they are, expired ones too."""
        await self._load_decoder(view)
        async for page in self._scan(view, chunk_rows):
            yield [(entity_text(key), raw) for key, raw in page]

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

    async def _fetch(self, wanted: Mapping[str, Sequence[EntityId]]) -> dict[str, list[bytes | None]]:
        for view in wanted:
            if view not in self._decoders:
                await self._load_decoder(view)
        keys = {view: [entity_key(entity_id) for entity_id in ids] for view, ids in wanted.items() if ids}
        found = await self._read(keys) if keys else {}
        return {view: found.get(view, []) for view in wanted}

    async def _decoded(
        self, view: str, decode: Callable[Concatenate[RowDecoder, _P], _T], *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        try:
            return decode(self._decoders[view], *args, **kwargs)
        except SchemaMismatch:  # perhaps a schema newer than what this process knows
            return decode(await self._load_decoder(view), *args, **kwargs)

    async def _load_decoder(self, view: str) -> RowDecoder:
        decoder = (await self._catalog()).decoder(view)
        self._decoders[view] = decoder
        return decoder

    async def _catalog(self) -> Catalog:
        return Catalog(await self._read_catalog())


def positive(name: str, seconds: float) -> float:
    """The number itself.

    Raises:
        ValueError: It is no length of time.
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"`{name}` must be greater than 0 and finite, got {seconds}; use None for no limit")
    return seconds


def _oldest(now: float, max_age_seconds: float | None) -> float | None:
    return None if max_age_seconds is None else now - positive("max_age_seconds", max_age_seconds)
