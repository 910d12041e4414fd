"""Arrow types as column types, and Arrow columns in the few plain types that a view holds.

| Arrow | view |
|---|---|
| integers, signed or not; decimals without fraction that fit 64 bits | `int` |
| float16, float32, float64; other decimals | `float`; NaN becomes null |
| bool | `bool` |
| strings | `string` |
| timestamp, date, time, duration | `string`, as Arrow prints them: the text the ranker's encoder makes of them, too |
| lists, of any or of a fixed size, of integers, floats or strings | `int_list`, `float_list`, `string_list` |
| dictionary | as its values |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from feature_store.errors import InvalidInput

if TYPE_CHECKING:  # view.py asks this module for the type of a column
    from feature_store.view import ColumnType

_SCALARS: dict[ColumnType, ColumnType] = {"int": "int_list", "float": "float_list", "string": "string_list"}


def column_type(name: str, kind: pa.DataType) -> ColumnType:
    """The type that a column of Arrow type `kind` has in a view.

    Raises:
        InvalidInput: No view can hold the type; names the column and the fix.

    Example:
        >>> column_type("tags", pa.list_(pa.dictionary(pa.int32(), pa.string())))
        'string_list'
    """
    if _is_list(kind):
        element = None if types.is_temporal(kind.value_type) else _scalar_type(kind.value_type)
        found = _SCALARS.get(element) if element is not None else None
    else:
        found = _scalar_type(kind)
    if found is None:
        raise InvalidInput(
            f"column '{name}' must hold numbers, booleans, strings, times, or lists of numbers or strings, "
            f"got {kind}; {_fix(kind)}, or leave the column out with --columns"
        )
    return found


def plain(name: str, array: pa.Array) -> pa.Array:
    """A column in the one Arrow type that stands for its view type: int64 (or uint64), float64, bool, string, lists.

    Raises:
        InvalidInput: A value does not fit, or a number is infinite.
    """
    try:
        result = array.cast(_plain_type(array.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise InvalidInput(f"column '{name}' ({array.type}) cannot be read: {exc}; correct or cast it") from exc
    numbers = pc.list_flatten(result) if _is_list(result.type) else result
    if types.is_float64(numbers.type) and pc.any(pc.is_inf(numbers)).as_py():
        raise InvalidInput(f"column '{name}' must be finite, got an infinite value; use null for unknown")
    if types.is_float64(result.type):  # NaN is how pandas writes null
        return pc.if_else(pc.is_nan(result), pa.scalar(None, pa.float64()), result)
    return result


def key_text(name: str, array: pa.Array) -> pa.Array:
    """A key column as canonical text.

    Raises:
        InvalidInput: The column is neither text nor integers.
    """
    kind = array.type.value_type if types.is_dictionary(array.type) else array.type
    if _scalar_type(kind) not in ("int", "string") or types.is_temporal(kind):
        raise InvalidInput(
            f"key column '{name}' must hold strings or integers, got {array.type}; cast it before writing the file"
        )
    return plain(name, array).cast(pa.large_string())


def unix_seconds(name: str, array: pa.Array) -> npt.NDArray[np.float64]:
    """An event-time column as seconds since 1970 (UTC); a timestamp without a zone is taken as UTC.

    Raises:
        InvalidInput: The column is neither times nor numbers, or a value is null or not finite.
    """
    kind = array.type
    if not (types.is_timestamp(kind) or types.is_date(kind) or types.is_integer(kind) or types.is_floating(kind)):
        raise InvalidInput(
            f"event-time column '{name}' must hold timestamps, dates or unix seconds, got {kind}; convert it"
        )
    if types.is_timestamp(kind) or types.is_date(kind):
        unit = pa.timestamp("us", tz=kind.tz if types.is_timestamp(kind) else None)
        array = pc.divide(array.cast(unit, safe=False).cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)
    seconds = np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    if not np.isfinite(seconds).all():
        raise InvalidInput(f"event-time column '{name}' must not be null or infinite; fill it in or drop such rows")
    return seconds


def _scalar_type(kind: pa.DataType) -> ColumnType | None:
    if types.is_dictionary(kind):
        return _scalar_type(kind.value_type)
    if types.is_integer(kind):
        return "int"
    if types.is_decimal(kind):
        return "int" if kind.scale == 0 and kind.precision <= 18 else "float"
    if types.is_floating(kind):
        return "float"
    if types.is_boolean(kind):
        return "bool"
    return "string" if _is_text(kind) or types.is_temporal(kind) else None


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if _is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_uint64(kind):
        return kind
    known = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "string": pa.string()}
    return known[_scalar_type(kind) or "string"]


def _is_list(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (types.is_list, types.is_large_list, types.is_fixed_size_list))


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (types.is_string, types.is_large_string, types.is_string_view))


def _fix(kind: pa.DataType) -> str:
    if types.is_null(kind):
        return "no value in it tells its type: cast it to the type it should have"
    if types.is_struct(kind) or types.is_map(kind):
        return "write each of its fields as a column of its own"
    if types.is_list_view(kind) or types.is_large_list_view(kind):  # Arrow 26 loses elements when it casts them
        return f"cast it to list<{kind.value_type}> before writing the file"
    if _is_list(kind):
        return "cast its elements to integers, floats or strings"
    return "cast it to a string"
