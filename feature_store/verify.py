"""Whether a view holds what it should: every row whole and of its schema, and the rows of given files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from feature_store.base import FeatureStore
from feature_store.decoder import RowDecoder
from feature_store.encoder import RowEncoder
from feature_store.errors import InvalidRow, SchemaMismatch, UnknownView
from feature_store.materialize import chosen_rows, latest_rows
from feature_store.packing import Row
from feature_store.parquet import ParquetSource
from feature_store.rows import FeatureRow, read_header
from feature_store.view import ViewSchema

_LISTED = 100


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
    if (current := await store.schema(view)) is None:
        raise UnknownView(f"view '{view}' is not in the store, which has {list(await store.views())}")
    check = _Check(view, await store.schemas(view))
    num_rows = num_expired = 0
    async for chunk in store.scan_packed(view):
        num_rows += len(chunk)
        num_expired += sum([check.row(entity_id, raw) for entity_id, raw in chunk])
    num_compared = 0
    if source is not None and not check.faults:  # rows that cannot be read cannot be compared either
        num_compared = await _compare(store, current, source, check.faults)
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

    def row(self, entity_id: str, raw: bytes) -> bool:
        """Note what is wrong with a row; whether it has expired."""
        try:
            (row,) = self._decoder.decode_many([entity_id], [raw], 0.0)
            header = read_header(raw)
            if row is not None:
                self._encoders[header.digest].encode(entity_id, row.values, row.event_time)
        except (SchemaMismatch, InvalidRow) as exc:
            self.faults.append(str(exc))
            return False
        return header.expires_at <= self._now


async def _compare(store: FeatureStore, schema: ViewSchema, source: ParquetSource, faults: list[str]) -> int:
    wanted = await asyncio.to_thread(latest_rows, source)
    batches, position, num_compared = source.batches(), 0, 0
    while batch := await asyncio.to_thread(next, batches, None):
        rows = list(chosen_rows(batch, wanted[position : position + len(batch.keys)]))
        found = await store.get_many(schema.view, [entity_id for entity_id, _, _ in rows])
        for row, stored in zip(rows, found, strict=True):
            if (fault := _difference(source.schema, row, stored)) is not None:
                faults.append(f"view '{schema.view}', entity '{row[0]}': {fault}")
        position += len(batch.keys)
        num_compared += len(rows)
    return num_compared


def _difference(schema: ViewSchema, row: Row, stored: FeatureRow | None) -> str | None:
    entity_id, values, event_time = row
    if stored is None:
        return "the files have a row, the store has none"
    packed = RowEncoder(schema).encode(entity_id, values, event_time)
    (expected,) = RowDecoder(schema.view, [schema]).decode_many([entity_id], [packed], 0.0)
    assert expected is not None
    for name, value in expected.values.items():
        if name not in stored.values or stored.values[name] != value:
            return f"column '{name}' is {stored.values.get(name)!r:.100}, the files have {value!r:.100}"
    if event_time is not None and stored.event_time != event_time:
        return f"its event time is {stored.event_time}, the files have {event_time}"
    return None
