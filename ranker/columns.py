"""Raw columns, whatever they came in, as Arrow arrays, numbers or lists. The edge where bad values are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from ranker.canonical_text import NOT_CONVERTIBLE, is_missing, sample, text, value_text
from ranker.errors import DataError

__all__ = ["LARGEST", "Columns", "Lists", "column", "lists", "num_rows", "numbers", "text"]

# What an encoder reads: columns by name, all of one length.
Columns: TypeAlias = pa.Table | pa.RecordBatch | pd.DataFrame | Mapping[str, Sequence[Any] | npt.NDArray[Any]]

LARGEST = float(np.finfo(np.float32).max)  # model inputs are float32
_NUMBER = (int, float, Decimal, np.integer, np.floating, np.bool_)


class Lists(NamedTuple):
    """A list column taken apart.

    Attributes:
        values: The values of all rows, one row after the other.
        lengths: How many of `values` belong to each row.
        missing: True where the list itself is null; such a row has no values.
    """

    values: pa.Array
    lengths: npt.NDArray[np.int64]
    missing: npt.NDArray[np.bool_]


def column(data: Columns, name: str, *, numeric: bool = False) -> pa.Array:
    """One column as an Arrow array. None, NaN and NA become null, except that Arrow's own NaN stays.

    Args:
        data: An Arrow table or record batch, a pandas frame, or a dict of columns.
        name: The column wanted.
        numeric: Numbers that have no common Arrow type (2**60 beside 0.5) become floats, and not text.

    Raises:
        DataError: The column is not there, is there twice, or holds what no column can hold.
    """
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        places = data.schema.get_all_field_indices(name)
        if len(places) != 1:
            raise _not_one(name, len(places), data.schema.names)
        return _whole(data.column(places[0]))
    if name not in data:
        raise _not_one(name, 0, list(data.keys()))
    values = data[name]
    if isinstance(values, pd.DataFrame):
        raise _not_one(name, values.shape[1], list(data.keys()))
    return _array(name, values, numeric=numeric)


def num_rows(data: Columns) -> int:
    """Rows of `data`; 0 for no columns at all."""
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        return int(data.num_rows)
    if isinstance(data, pd.DataFrame):
        return len(data)
    return len(next(iter(data.values()))) if data else 0


def numbers(name: str, array: pa.Array) -> npt.NDArray[np.float64]:
    """Numeric values as float64, NaN for null; booleans are 1 and 0.

    Raises:
        DataError: The column holds something else than numbers, or a value that single precision cannot hold.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        return numbers(name, array.dictionary_decode())
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise DataError(
            f"column '{name}' must hold numbers, got {sample(array)}; convert it, or declare it as kind: categorical"
        )
    array = array if pa.types.is_float64(kind) else array.cast(pa.float64(), safe=False)
    values: npt.NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    too_large = np.abs(values) > LARGEST
    if too_large.any():
        row = int(too_large.argmax())
        raise DataError(
            f"column '{name}' must hold finite numbers up to {LARGEST:.1e}, got {values[row]} in row {row}; "
            "use null for an unknown value"
        )
    return values


def lists(name: str, array: pa.Array, max_length: int) -> Lists:
    """A list column taken apart, each list cut to its last `max_length` values.

    Raises:
        DataError: The column holds something else than lists.
    """
    if pa.types.is_null(array.type):
        return Lists(pa.array([], pa.string()), np.zeros(len(array), np.int64), np.ones(len(array), np.bool_))
    first, ends = _bounds(name, array)
    missing = np.zeros(len(array), np.bool_)
    if array.null_count:
        missing = array.is_null().to_numpy(zero_copy_only=False)
        ends = np.where(missing, first, ends)  # a null may span values nobody should see
    starts = np.maximum(first, ends - max_length)
    lengths = ends - starts
    return Lists(_gather(array.values, starts, ends, lengths), lengths, missing)


def _bounds(name: str, array: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each list begins and ends in `array.values`."""
    kind = array.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = array.offsets.to_numpy().astype(np.int64, copy=False)
        return offsets[:-1], offsets[1:]
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        starts = array.offsets.to_numpy().astype(np.int64, copy=False)
        return starts, starts + array.sizes.to_numpy()
    if pa.types.is_fixed_size_list(kind):
        starts = (np.arange(len(array), dtype=np.int64) + array.offset) * kind.list_size
        return starts, starts + kind.list_size
    raise DataError(f"column '{name}' must hold lists, got {sample(array)}; declare single values as kind: categorical")


def _gather(
    values: pa.Array, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> pa.Array:
    """The values between `starts` and `ends` of every row, one row after the other."""
    if len(starts) and (starts[1:] == ends[:-1]).all():
        return values.slice(int(starts[0]), int(ends[-1] - starts[0]))
    before = np.cumsum(lengths) - lengths
    return values.take(pa.array(np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)))


def _whole(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _array(name: str, values: Any, *, numeric: bool = False) -> pa.Array:
    """Python, NumPy or pandas values as Arrow."""
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return _whole(values)
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise DataError(f"column '{name}' must be a sequence with one value per row, got {values!r}; put it in a list")
    if isinstance(values, np.ndarray) and values.ndim == 2:
        values = list(values)
    try:
        array = _whole(pa.array(values, from_pandas=True))
        if not pa.types.is_date(array.type) or all(is_missing(value) or type(value) is date for value in values):
            return array  # Arrow takes an integer beside a date for a day since 1970
    except NOT_CONVERTIBLE:
        pass
    values = [None if is_missing(value) else value for value in values]
    if numeric and all(value is None or isinstance(value, _NUMBER) for value in values):
        return pa.array([None if value is None else _as_float(value) for value in values], pa.float64())
    if any(isinstance(value, (list, tuple, np.ndarray)) for value in values):
        return _mixed_lists(name, values)
    return pa.array([value_text(name, value) for value in values], pa.string())


def _mixed_lists(name: str, values: list[Any]) -> pa.Array:
    """Lists whose values have several types."""
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, (list, tuple, np.ndarray)):
            raise DataError(
                f"column '{name}' must hold lists in every row, got {value!r} in row {row}; put it in a list"
            )
    flat = [value for row in values if row is not None for value in row]
    offsets = np.cumsum([0] + [0 if row is None else len(row) for row in values])
    missing = pa.array([row is None for row in values])
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), _array(name, flat), mask=missing)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 300 digits; refused with the other infinities
        return float("inf")


def _not_one(name: str, times: int, names: Sequence[Any]) -> DataError:
    if times:
        return DataError(f"column '{name}' is there {times} times; keep one of them")
    return DataError(f"column '{name}' is missing; there are {sorted(map(str, names))}; add it, or correct the schema")
