"""The columns of a log that are no features: what rows are called, and what they should have predicted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ranker.schema import Schema


def needed_columns(schema: Schema) -> tuple[str, ...]:
    """Columns without which a model cannot be trained: features and labels."""
    return (*schema.feature_columns, *schema.label_columns)


def id_columns(schema: Schema) -> tuple[str, ...]:
    """Columns that identify rows, those that the schema names."""
    ids = schema.ids
    return tuple(name for name in (ids.user, ids.item, ids.request, ids.timestamp) if name is not None)


def label_columns(schema: Schema, rows: pa.Table | pa.RecordBatch) -> dict[str, npt.NDArray[np.generic]]:
    """Raw label columns as numpy."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    return {name: label_values(table.column(name).combine_chunks()) for name in schema.label_columns}


def label_values(array: pa.Array) -> npt.NDArray[np.generic]:
    """A label column as numpy; null is NaN, text stays text so that it can be refused by name."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type) or pa.types.is_null(array.type):
        array = array.cast(pa.float64())
    values: npt.NDArray[np.generic] = array.to_numpy(zero_copy_only=False)
    return values
