"""Feature values that a request brings, checked against the live model: names, types and ranges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from ranker.columns import LARGEST
from ranker.schema import CategoricalFeature, FeatureSpec, NumericFeature
from serving.errors import FieldError, shown

Kind = Literal["number", "category", "list"]

_RULES: Mapping[Kind, tuple[str, str]] = {
    "number": ("must be a number or null", "send a finite JSON number, without quotes"),
    "category": ("must be a string, a number, a boolean or null", "send one value; lists belong to list features"),
    "list": ("must be a list of strings or numbers, or null", "put the value into a list"),
}
_INT64_END = 2**63
_INT64 = range(-_INT64_END, _INT64_END)
_NUMERIC: frozenset[type] = frozenset({bool, int, float})
_NUMBERS = _NUMERIC | {type(None)}
_SCALARS = _NUMBERS | {str}


def kind_of(feature: FeatureSpec) -> Kind:
    """What sort of values a feature reads."""
    if isinstance(feature, NumericFeature):
        return "number"
    return "category" if isinstance(feature, CategoricalFeature) else "list"


def is_plain(values: Sequence[Any], kind: Kind) -> bool:
    """Whether no value of one column needs a closer look, told in a fraction of the time that `check` takes.

    Args:
        values: As bodies bring them.
        kind: What the column holds.
    """
    if kind == "list":
        lists = [value for value in values if value is not None]
        return set(map(type, lists)) <= {list} and _are_plain(list(chain.from_iterable(lists)), _SCALARS)
    return _are_plain(values, _NUMBERS if kind == "number" else _SCALARS)


def _are_plain(values: Sequence[Any], accepted: frozenset[type]) -> bool:
    """Scalars of these types and null; numbers of a size that every kind can hold."""
    types = set(map(type, values))
    if not types <= accepted:
        return False
    numbers = values if types <= _NUMERIC else [value for value in values if type(value) in _NUMERIC]
    return min(numbers, default=0) >= -_INT64_END and max(numbers, default=0) < _INT64_END


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
