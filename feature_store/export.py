"""A view as a Parquet file: the way back from `materialize`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_store.base import FeatureStore
from feature_store.errors import InvalidInput, UnknownView
from feature_store.rows import FeatureRow
from feature_store.view import ColumnType, ViewSchema

_GROUP_ROWS = 50_000

_TYPES: dict[ColumnType, pa.DataType] = {
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "string": pa.string(),
    "int_list": pa.list_(pa.int64()),
    "float_list": pa.list_(pa.float64()),
    "string_list": pa.list_(pa.string()),
}


async def export(store: FeatureStore, view: str, path: Path, *, key: str = "id", event_time: str | None = None) -> int:
    """Write all rows of a view into a Parquet file, in no particular order.

    The columns are the view's current ones; a row of an earlier schema is null where it lacks one. When rows expire is
    not written. While others write, an entity may come twice, its newest row last: `materialize` then takes that one.

    Args:
        store: Where from.
        view: Name of the view.
        path: The file; it appears, or takes the place of a former one, once it is complete.
        key: Name of the column of entity ids, text.
        event_time: Name of a column of event times, unix seconds, null where a row has none; None: no such column.

    Returns:
        Number of rows written.

    Raises:
        UnknownView: No such view.
        InvalidInput: A name is taken, a value does not fit Arrow's 64 signed bits, or the file cannot be written.
        StoreUnavailable: The store cannot be read now.
    """
    schema = await store.schema(view)
    if schema is None:
        raise UnknownView(f"view '{view}' is not in the store, which has {list(await store.views())}")
    fields = _fields(schema, key, event_time)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    num_rows = 0
    try:
        with pq.ParquetWriter(partial, fields) as writer:
            async for rows in store.scan_rows(view, chunk_rows=_GROUP_ROWS):
                await asyncio.to_thread(writer.write_table, _table(fields, schema, rows, key, event_time))
                num_rows += len(rows)
        partial.replace(path)
    except OSError as exc:
        raise InvalidInput(f"file '{path}' cannot be written: {exc}; correct the path") from exc
    finally:
        partial.unlink(missing_ok=True)
    return num_rows


def _fields(schema: ViewSchema, key: str, event_time: str | None) -> pa.Schema:
    extra = [(key, pa.string()), *([(event_time, pa.float64())] if event_time is not None else [])]
    for name, _ in extra:
        if name in schema.names or (name == event_time and name == key):
            raise InvalidInput(f"column '{name}' is there already; give the key or the event time another name")
    return pa.schema([*extra, *((column.name, _TYPES[column.type]) for column in schema.columns)])


def _table(
    fields: pa.Schema, schema: ViewSchema, rows: Sequence[tuple[str, FeatureRow]], key: str, event_time: str | None
) -> pa.Table:
    columns: dict[str, list[Any]] = {key: [entity_id for entity_id, _ in rows]}
    if event_time is not None:
        columns[event_time] = [row.event_time for _, row in rows]
    columns |= {name: [row.values.get(name) for _, row in rows] for name in schema.names}
    return pa.table({name: _array(fields.field(name), values) for name, values in columns.items()}, schema=fields)


def _array(field: pa.Field, values: Sequence[object]) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError) as exc:
        raise InvalidInput(
            f"column '{field.name}' cannot be written as {field.type}: {exc}; write the rows that have such values anew"
        ) from exc
