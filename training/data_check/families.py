"""Types of columns, as far as a change of type is a change of meaning."""

from __future__ import annotations

import pyarrow as pa


def family(kind: pa.DataType) -> str:
    """The family of an Arrow type: files of one day may hold `int32` and of the next `double`, but not text.

    Example:
        >>> family(pa.int8()), family(pa.dictionary(pa.int8(), pa.string())), family(pa.list_(pa.int64()))
        ('number', 'text', 'list of number')
    """
    types = pa.types
    if types.is_dictionary(kind):
        return family(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or _is_list_view(kind):
        return f"list of {family(kind.value_type)}"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "number"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    return {"bool": "boolean", "null": UNKNOWN}.get(str(kind), str(kind))


UNKNOWN = "unknown"  # a column of nulls alone has no type


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))
