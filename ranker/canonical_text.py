"""The text that a categorical value is known by, so that 5, 5.0 and "5" are one value: of columns and of one value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ranker.errors import DataError

NOT_CONVERTIBLE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError)
_INT64_END, _UINT64_END = 2**63, 2**64
_PLAIN_FRACTIONS = (1e-4, 1e9)  # sizes of fractions that Arrow writes as Python does


def text(name: str, array: pa.Array) -> pa.Array:
    """Categorical values as canonical text. Null and NaN are null.

    Booleans are 1 and 0, dates are YYYY-MM-DD, strings stay as they are.

    Returns:
        Strings; dictionary-encoded if `array` is and that pays off. A dictionary holds no null.

    Raises:
        DataError: The type has no one text (a list, bytes, a point in time), or a value is infinite.
    """
    kind = array.type
    if pa.types.is_string(kind):
        return array
    if pa.types.is_dictionary(kind):
        return _dictionary_text(name, array)
    if pa.types.is_boolean(kind):
        return array.cast(pa.uint8()).cast(pa.string())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _fraction_text(name, array)
    if pa.types.is_date64(kind):
        return array.cast(pa.date32()).cast(pa.string())
    if (
        pa.types.is_integer(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_date32(kind)
        or pa.types.is_null(kind)
    ):
        return array.cast(pa.string())
    raise DataError(
        f"column '{name}' must hold strings, integers, booleans or dates, got {sample(array)}; "
        "convert it to strings, or declare lists as kind: categorical_list"
    )


def value_text(name: str, value: Any) -> str | None:
    """Canonical text of one Python value; null, NaN and NA have none. The same as `text` of a column of that value.

    Args:
        name: Column, for the message.
        value: Anything that a column may hold.

    Raises:
        DataError: The value has no one text, is infinite, or has more than 64 bits.

    Example:
        >>> [value_text("brand", value) for value in (5, 5.0, "5", True, 2.5, None)]
        ['5', '5', '5', '1', '2.5', None]
    """
    kind = type(value)
    if kind is str and (value.isascii() or _encodable(value)):
        return str(value)
    if kind is int and -_INT64_END <= value < _UINT64_END:
        return str(value)
    if kind is float and -_INT64_END < value < _INT64_END:
        if value.is_integer():
            return str(int(value))
        if _PLAIN_FRACTIONS[0] <= abs(value) < _PLAIN_FRACTIONS[1]:
            return repr(value)
    if kind is bool:
        return "1" if value else "0"
    return None if is_missing(value) else _arrow_text(name, value)


def is_missing(value: Any) -> bool:
    """Whether a Python value stands for none: None, NaN, NA and NaT do."""
    return (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, (float, np.floating)) and value != value)
    )


def sample(array: pa.Array) -> str:
    """The first value that is no number, with its place and type, for a message."""
    for row, value in enumerate(array.to_pylist()):
        if value is not None and not (isinstance(value, str) and _reads_as_number(value)):
            return f"{value!r} in row {row} ({array.type})"
    return f"values of type {array.type}"


def _arrow_text(name: str, value: Any) -> str | None:
    try:
        found: str | None = text(name, pa.array([value], from_pandas=True))[0].as_py()
    except NOT_CONVERTIBLE as exc:
        raise DataError(
            f"column '{name}' must hold text, numbers of at most 64 bits, booleans or dates, got {value!r} "
            f"({type(value).__name__}); convert it to a valid string"
        ) from exc
    return found


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True


def _dictionary_text(name: str, array: pa.Array) -> pa.Array:
    if len(array.dictionary) > len(array):  # a batch of a long column carries the whole column's dictionary
        return text(name, array.dictionary_decode())
    words = text(name, array.dictionary)
    encoded = pa.DictionaryArray.from_arrays(array.indices, words, safe=False)
    return encoded.dictionary_decode() if words.null_count else encoded


def _fraction_text(name: str, array: pa.Array) -> pa.Array:
    """Text of floats and decimals: whole numbers as integers are written, others as the shortest exact float."""
    if pa.types.is_decimal(array.type):
        if array.type.scale <= 0:
            return array.cast(pa.decimal256(76, 0)).cast(pa.string())
        as_float = array.cast(pa.float64())
    else:
        array = array.cast(pa.float32()) if pa.types.is_float16(array.type) else array  # has no kernels
        if pc.any(pc.is_inf(array)).as_py():
            raise DataError(f"column '{name}' must hold finite numbers, got inf; use null for an unknown value")
        array = as_float = pc.if_else(pc.is_nan(array), None, array)
    whole = pc.and_(pc.equal(array, pc.floor(array)), pc.less(pc.abs(as_float.cast(pa.float64())), 2.0**63))
    as_int = pc.if_else(whole, array, None).cast(pa.int64())
    return pc.coalesce(as_int.cast(pa.string()), as_float.cast(pa.string()))


def _reads_as_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
