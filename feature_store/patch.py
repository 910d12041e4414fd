"""Partial updates: some columns of a row change, the others stay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from feature_store.decoder import RowDecoder
from feature_store.encoder import RowEncoder
from feature_store.entity import EntityId
from feature_store.packing import Row, written_key
from feature_store.rows import FeatureRow
from feature_store.view import ViewSchema


class Patch(NamedTuple):
    """What changes in one row: values by column, and the event time unless it is None."""

    entity_id: EntityId
    values: dict[str, Any]
    event_time: float | None


def patches(rows: Iterable[Row], num_rows: int) -> Iterator[dict[bytes, Patch]]:
    """Patches by entity, at most `num_rows` rows at once; those of one entity become one, later values win.

    Raises:
        InvalidRow: An id is empty, or neither text nor an integer.
    """
    chunk: dict[bytes, Patch] = {}
    for number, (entity_id, values, event_time) in enumerate(rows, start=1):
        key = written_key(entity_id)
        before = chunk.get(key, Patch(entity_id, {}, None))
        time = before.event_time if event_time is None else event_time
        chunk[key] = Patch(entity_id, {**before.values, **values}, time)
        if number % num_rows == 0:
            yield chunk
            chunk = {}
    if chunk:
        yield chunk


class Patcher:
    """Applies patches to packed rows.

    Args:
        schema: What rows are written with.
        decoder: Reads the rows there are.
        now: Rows that expired by then count as absent; unix seconds.
        expires_at: From when on patched rows are missing; None: as before, a new row never.
    """

    def __init__(self, schema: ViewSchema, decoder: RowDecoder, now: float, expires_at: float | None) -> None:
        self._names = schema.names
        self._encoder = RowEncoder(schema)
        self._decoder = decoder
        self._now = now
        self._expires_at = expires_at

    def apply(self, patch: Patch, raw: bytes | None) -> bytes:
        """The packed row that takes the place of `raw`, which is None where there is none.

        Columns that the schema no longer has are dropped.

        Raises:
            InvalidRow: A value does not fit the schema, be it from the patch or kept.
            SchemaMismatch: The row there is cannot be read.
        """
        row = self._decoder.decode_many([patch.entity_id], [raw], self._now)[0] or FeatureRow({}, None)
        kept = {name: row.values[name] for name in self._names if name in row.values}
        event_time = row.event_time if patch.event_time is None else patch.event_time
        expires_at = row.expires_at if self._expires_at is None else self._expires_at
        return self._encoder.encode(
            patch.entity_id, {**kept, **patch.values}, event_time, math.inf if expires_at is None else expires_at
        )
