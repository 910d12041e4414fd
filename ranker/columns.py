"""Raw columns, whatever they came in, as canonical text, numbers or lists. The edge where bad values are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ranker.errors import DataError

# What an encoder reads: columns by name, all of one length.
Columns = pa.Table | pa.RecordBatch | pd.DataFrame | Mapping[str, Sequence[Any] | npt.NDArray[Any]]


class Lists(NamedTuple):
    """A list column taken apart: the values of all rows in a row, and how many each row has."""

    values: pa.Array
    lengths: npt.NDArray[np.int64]
    missing: npt.NDArray[np.bool_]


def column(data: Columns, name: str) -> pa.Array:
    """One column as an Arrow array.

    Raises:
        DataError: The column is not there, or its values have no common type.
    """
    names = data.schema.names if isinstance(data, (pa.Table, pa.RecordBatch)) else list(data.keys())
    if name not in names:
        raise DataError(
            f"column '{name}' is missing; there are {sorted(map(str, names))}; add it, or correct the schema"
        )
    if isinstance(data, pa.Table):
        return data.column(name).combine_chunks()
    if isinstance(data, pa.RecordBatch):
        return data.column(name)
    values = data[name]
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _mixed(name, list(values))


def num_rows(data: Columns) -> int:
    """Rows of `data`; 0 for no columns at all."""
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        return int(data.num_rows)
    if isinstance(data, pd.DataFrame):
        return len(data)
    return len(next(iter(data.values()))) if data else 0


def text(name: str, array: pa.Array) -> pa.Array:
    """Categorical values as canonical text, so that 5, 5.0 and "5" are one value. Null and NaN are null.

    Raises:
        DataError: The type has no sensible text, for example a list.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(array.indices, text(name, array.dictionary))
    if pa.types.is_string(kind):
        return array
    if pa.types.is_floating(kind):
        return _float_text(array)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(
            f"column '{name}' must hold strings or integers, got {kind}; for lists use kind: categorical_list"
        )
    return array.cast(pa.string())


def numbers(name: str, array: pa.Array) -> npt.NDArray[np.float64]:
    """Numeric values as float64, NaN for null.

    Raises:
        DataError: The column holds text or lists, or an infinite value.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return numbers(name, array.dictionary_decode())
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_boolean(kind)):
        sample = next((value for value in array.to_pylist() if value is not None), None)
        raise DataError(f"column '{name}' must hold numbers, got {sample!r} ({kind}); convert it or make it categorical")
    as_int = array.cast(pa.uint8()) if pa.types.is_boolean(kind) else array
    values = np.asarray(as_int.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise DataError(f"column '{name}' must be finite, got {values[row]} in row {row}; use null for unknown")
    return values


def lists(name: str, array: pa.Array, max_length: int) -> Lists:
    """A list column taken apart, each list cut to its last `max_length` values.

    Raises:
        DataError: The column holds something else than lists.
    """
    if pa.types.is_null(array.type):
        return Lists(pa.array([], pa.string()), np.zeros(len(array), np.int64), np.ones(len(array), bool))
    if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type)):
        raise DataError(f"column '{name}' must hold lists, got {array.type}; for single values use kind: categorical")
    missing = np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=bool)
    offsets = array.offsets.to_numpy().astype(np.int64)
    ends = np.where(missing, offsets[:-1], offsets[1:])
    starts = np.maximum(offsets[:-1], ends - max_length)
    lengths = ends - starts
    return Lists(array.values.take(pa.array(_ranges(starts, lengths))), lengths, missing)


def _ranges(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`arange(start, start + length)` of every row, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum()), dtype=np.int64) + np.repeat(starts - before, lengths)


def _float_text(array: pa.Array) -> pa.Array:
    values = array.cast(pa.float64())
    values = pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
    whole = pc.and_(pc.equal(values, pc.floor(values)), pc.less(pc.abs(values), 2.0**63))
    as_int = pc.if_else(whole, values, pa.scalar(None, pa.float64())).cast(pa.int64())
    return pc.coalesce(as_int.cast(pa.string()), values.cast(pa.string()))


def _mixed(name: str, values: list[Any]) -> pa.Array:
    """Strings beside numbers, as a request may bring them: fine for a categorical column, one value at a time."""
    for value in values:
        if value is not None and not isinstance(value, (str, int, float)):
            raise DataError(f"column '{name}' must hold values of one type, got {value!r} beside others")
    return pa.array([_plain_text(value) for value in values], pa.string())


def _plain_text(value: str | int | float | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    result: str | None = text("", pa.array([value]))[0].as_py()
    return result
