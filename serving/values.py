"""Feature values that a request brings, checked against the live model: names, types and ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from ranker.columns import LARGEST
from ranker.schema import CategoricalFeature, FeatureSpec, NumericFeature
from serving.errors import FieldError, shown

Kind = Literal["number", "category", "list"]

_RULES: Mapping[Kind, tuple[str, str]] = {
    "number": ("must be a number or null", "send a finite JSON number, without quotes"),
    "category": ("must be a string, a number, a boolean or null", "send one value; lists belong to list features"),
    "list": ("must be a list of strings or numbers, or null", "put the value into a list"),
}
_INT64 = range(-(2**63), 2**63)
_NUMBERS = frozenset({pa.null(), pa.bool_(), pa.int64(), pa.float64()})
_SCALARS = _NUMBERS | {pa.string()}


def kind_of(feature: FeatureSpec) -> Kind:
    """What sort of values a feature reads."""
    if isinstance(feature, NumericFeature):
        return "number"
    return "category" if isinstance(feature, CategoricalFeature) else "list"


def is_plain(column: pa.Array | None, kind: Kind) -> bool:
    """Whether no value of one column needs a closer look, told in a fraction of the time that `check` takes.

    Args:
        column: What bodies bring, as Arrow takes it; `None` where it finds no common type.
        kind: What the column should hold.
    """
    if column is None:
        return False
    if kind == "list":
        return pa.types.is_null(column.type) or (pa.types.is_list(column.type) and column.type.value_type in _SCALARS)
    if kind == "category":
        return column.type in _SCALARS
    if pa.types.is_floating(column.type):
        return not (np.abs(column.to_numpy(zero_copy_only=False)) > LARGEST).any()
    return column.type in _NUMBERS


def check(values: Mapping[str, Any], kinds: Mapping[str, Kind], where: str) -> Iterator[FieldError]:
    """Every fault of the values that a request brings for some columns.

    Args:
        values: By column, as they were in the body.
        kinds: The columns that may be given, and what each holds.
        where: Path of `values` in the body.
    """
    for name, value in values.items():
        field = f"{where}.{name}"
        if name not in kinds:
            valid = ", ".join(sorted(kinds)) or "none: the live model reads no such feature"
            yield FieldError(
                field, "must be a feature of the live model", f"remove it; valid names: {valid}", shown(value)
            )
        elif not _fits(value, kinds[name]):
            yield FieldError(field, *_RULES[kinds[name]], shown(value))
        elif not _in_range(value, kinds[name]):
            rule = f"must lie within ±{LARGEST:g}" if kinds[name] == "number" else "must fit into 64 bits"
            yield FieldError(
                field, rule, "send null for an unknown value, or a string for a long identifier", shown(value)
            )


def _fits(value: Any, kind: Kind) -> bool:
    if value is None:
        return True
    if kind == "number":
        return isinstance(value, (int, float))
    return isinstance(value, list) == (kind == "list")


def _in_range(value: Any, kind: Kind) -> bool:
    if kind == "number":
        return value is None or (abs(value) <= LARGEST)
    entries = value if isinstance(value, list) else [value]
    return all(not isinstance(entry, int) or entry in _INT64 for entry in entries)
