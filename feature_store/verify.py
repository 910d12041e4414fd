"""Whether a view holds what it should: every row whole and of its schema, and the rows of given files."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from feature_store.base import FeatureStore
from feature_store.decoder import RowDecoder
from feature_store.encoder import RowEncoder
from feature_store.errors import InvalidRow, SchemaMismatch, UnknownView
from feature_store.materialize import chosen_rows, latest_rows
from feature_store.parquet import ParquetSource
from feature_store.rows import FeatureRow, read_header
from feature_store.view import ViewSchema

_LISTED = 100
_NEVER_EXPIRED = -math.inf  # a time at which each row is still there


class Verified(NamedTuple):
    """What was found in a view.

    Attributes:
        view: Name of the view.
        num_rows: Rows read, expired ones too.
        num_expired_rows: Those of them that nobody sees any more.
        num_compared_rows: Entities of the files, whose rows were compared.
        num_faults: Rows that are broken, or differ from the files.
        faults: The first hundred of them, in words.
    """

    view: str
    num_rows: int
    num_expired_rows: int
    num_compared_rows: int
    num_faults: int
    faults: tuple[str, ...]


async def verify(store: FeatureStore, view: str, source: ParquetSource | None = None) -> Verified:
    """Read every row of a view, check it, and, if none is broken, compare it with files if there are any.

    Args:
        store: Where the view is.
        view: Name of the view.
        source: Files of which the view must hold each entity's latest row; it may hold others too.

    Raises:
        UnknownView: No such view.
        InvalidInput: A file cannot be read.
        StoreUnavailable: The store cannot be read now.
    """
    if await store.schema(view) is None:
        raise UnknownView(f"view '{view}' is not in the store, which has {list(await store.views())}")
    check = _Check(view, await store.schemas(view))
    num_rows = num_expired = 0
    async for chunk in store.scan_packed(view):
        num_rows += len(chunk)
        num_expired += check.chunk(chunk)
    num_compared = 0
    if source is not None and not check.faults:  # rows that cannot be read cannot be compared either
        num_compared = await _compare(store, view, source, check.faults)
    return Verified(view, num_rows, num_expired, num_compared, len(check.faults), tuple(check.faults[:_LISTED]))


class _Check:
    """Looks at one packed row after another.

    Attributes:
        faults: What is wrong with rows seen so far, in words.
    """

    def __init__(self, view: str, schemas: Sequence[ViewSchema]) -> None:
        self.faults: list[str] = []
        self._decoder = RowDecoder(view, schemas)
        self._encoders = {schema.digest: RowEncoder(schema) for schema in schemas}
        self._now = time.time()

    def chunk(self, chunk: Sequence[tuple[str, bytes]]) -> int:
        """Note what is wrong with some rows; how many have expired."""
        ids, raws = [entity_id for entity_id, _ in chunk], [raw for _, raw in chunk]
        try:
            rows = self._decoder.decode_many(ids, raws, _NEVER_EXPIRED)
        except SchemaMismatch as exc:
            if len(chunk) == 1:
                self.faults.append(str(exc))
                return 0
            return sum([self.chunk([row]) for row in chunk])
        for entity_id, raw, row in zip(ids, raws, rows, strict=True):
            self._check_values(entity_id, raw, row)
        return sum([read_header(raw).expires_at <= self._now for raw in raws])

    def _check_values(self, entity_id: str, raw: bytes, row: FeatureRow | None) -> None:
        assert row is not None
        try:
            self._encoders[read_header(raw).digest].encode(entity_id, row.values, row.event_time)
        except InvalidRow as exc:
            self.faults.append(str(exc))


async def _compare(store: FeatureStore, view: str, source: ParquetSource, faults: list[str]) -> int:
    wanted = await asyncio.to_thread(latest_rows, source)
    encoder, decoder = RowEncoder(source.schema), RowDecoder(view, [source.schema])
    batches, position, num_compared = source.batches(), 0, 0
    while batch := await asyncio.to_thread(next, batches, None):
        rows = list(chosen_rows(batch, wanted[position : position + len(batch.keys)]))
        ids = [entity_id for entity_id, _, _ in rows]
        packed = [encoder.encode(*row) for row in rows]  # what the files' values become in a store
        expected = decoder.decode_many(ids, packed, _NEVER_EXPIRED)
        for entity_id, row, stored in zip(ids, expected, await store.get_many(view, ids), strict=True):
            if (fault := _difference(row, stored)) is not None:
                faults.append(f"view '{view}', entity '{entity_id}': {fault}")
        position += len(batch.keys)
        num_compared += len(rows)
    return num_compared


def _difference(expected: FeatureRow | None, stored: FeatureRow | None) -> str | None:
    assert expected is not None
    if stored is None:
        return "the files have a row, the store has none"
    for name, value in expected.values.items():
        if name not in stored.values or stored.values[name] != value:
            return f"column '{name}' is {stored.values.get(name)!r:.100}, the files have {value!r:.100}"
    if expected.event_time not in (None, stored.event_time):
        return f"its event time is {stored.event_time}, the files have {expected.event_time}"
    return None
