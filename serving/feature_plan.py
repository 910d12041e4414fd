"""Where a model's features come from, and what one request brings of them."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import pyarrow as pa

from feature_store import FeatureColumns, ViewSchema
from ranker.canonical_text import NOT_CONVERTIBLE
from ranker.schema import Schema, Side
from serving.values import Kind, kind_of

Id = str | int
Columns = dict[str, list[Any]]

_STORE_TYPES: Mapping[Kind, frozenset[str]] = {
    "number": frozenset({"int", "float", "bool"}),
    "category": frozenset({"int", "float", "bool", "string"}),
    "list": frozenset({"int_list", "float_list", "string_list"}),
}


@dataclass(frozen=True)
class FeaturePlan:
    """Where each raw column of a model comes from.

    Attributes:
        user: Columns of the store's user view.
        item: Columns of the store's item view; candidates may override them.
        context: Columns that a request brings.
        user_id: Columns filled with the user's id, because a feature reads it.
        item_id: Columns filled with the candidates' ids, for the same reason.
        user_key: Name of the user id in training data; names the fix when the view is absent.
        item_key: The same of the item id.
    """

    user: Mapping[str, Kind]
    item: Mapping[str, Kind]
    context: Mapping[str, Kind]
    user_id: tuple[str, ...]
    item_id: tuple[str, ...]
    user_key: str
    item_key: str

    @classmethod
    def of(cls, schema: Schema) -> FeaturePlan:
        """The plan that a schema makes: ids fill id columns, context comes with the request, the rest is stored."""
        context = _kinds(schema, "context", exclude={schema.ids.user})
        request = {**_kinds(schema, "user"), **_kinds(schema, "context")}
        return cls(
            user=_kinds(schema, "user", exclude={schema.ids.user, *context}),
            item=_kinds(schema, "item", exclude={schema.ids.item}),
            context=context,
            user_id=tuple(column for column in request if column == schema.ids.user),
            item_id=tuple(column for column in schema.columns("item") if column == schema.ids.item),
            user_key=schema.ids.user or "user_id",
            item_key=schema.ids.item or "item_id",
        )

    def needs_rows(self, wanted: Wanted) -> bool:
        """Whether the store can tell more of any item than its candidate brings."""
        given = wanted.given.values()
        return len(given) < len(self.item) or any(len(of.places) < len(wanted.item_ids) for of in given)

    def needs_row(self, given: Collection[str]) -> bool:
        """Whether the store can tell more of an item than the columns that its candidate brings."""
        return len(given) < len(self.item)


@dataclass(frozen=True)
class Given:
    """What candidates bring of one column.

    Attributes:
        places: Of the candidates that bring a value.
        values: The value of each.
    """

    places: Sequence[int]
    values: Sequence[Any]

    @cached_property
    def arrow(self) -> pa.Array | None:
        """The values as an encoder reads them fastest; `None` where they have no common type."""
        with suppress(TypeError, OverflowError):  # integers, which most categories are, in half of Arrow's time
            integers = pa.py_buffer(array("q", self.values))
            return pa.Array.from_buffers(pa.int64(), len(self.values), [None, integers])
        with suppress(*NOT_CONVERTIBLE):
            return pa.array(self.values, from_pandas=True)
        return None

    @property
    def column(self) -> pa.Array | Sequence[Any]:
        """The values as a column."""
        return self.values if self.arrow is None else self.arrow


@dataclass(frozen=True)
class Wanted:
    """One request as far as features go: checked against the plan, ids as they came.

    Attributes:
        user_id: As it came; `None` if no user was named.
        item_ids: Of the candidates.
        context: Values by column.
        overrides: By place, in ascending order, the values that candidates bring themselves, by column.
    """

    user_id: Id | None
    item_ids: Sequence[Id]
    context: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def given(self) -> dict[str, Given]:
        """The same overrides, column by column."""
        places, brought = list(self.overrides), list(self.overrides.values())
        if len(set(map(len, brought))) == 1:
            with suppress(KeyError):  # most often all bring the same columns
                return {name: Given(places, [features[name] for features in brought]) for name in brought[0]}
        return {name: self._given(name) for name in dict.fromkeys(chain.from_iterable(brought))}

    def _given(self, name: str) -> Given:
        values = [features[name] for features in self.overrides.values() if name in features]
        if len(values) == len(self.overrides):
            return Given(list(self.overrides), values)
        return Given([place for place, features in self.overrides.items() if name in features], values)


def misfit(view: str, schema: ViewSchema | None, columns: Mapping[str, Kind], key: str) -> str | None:
    """What keeps a view from feeding a model, in words."""
    fix = f"materialize it for this model: ranker-features materialize --view {view} --key {key} --store STORE PARQUET"
    if schema is None:
        return f"feature store has no view '{view}'; {fix}"
    types = {column.name: column.type for column in schema.columns}
    for name, kind in columns.items():
        if name not in types:
            return f"view '{view}' of the feature store lacks column '{name}'; it has {sorted(types)}; {fix}"
        if types[name] not in _STORE_TYPES[kind]:
            wanted = " or ".join(sorted(_STORE_TYPES[kind]))
            return f"column '{name}' of view '{view}' must be {wanted}, the feature store has {types[name]}; {fix}"
    return None


def _kinds(schema: Schema, side: Side, exclude: set[str | None] | frozenset[str] = frozenset()) -> dict[str, Kind]:
    """The sort of values in each column of a side; the strictest where several features read one column."""
    strictness: tuple[Kind, ...] = ("category", "number", "list")
    kinds: dict[str, Kind] = {}
    for feature in schema.features:
        if feature.side == side and feature.column not in exclude:
            kind = kind_of(feature)
            kinds[feature.column] = max(kind, kinds.get(feature.column, kind), key=strictness.index)
    return kinds


def no_columns(num_rows: int) -> Columns:
    """Stands for a side without features: the encoder takes the number of rows from any column."""
    return {"": [None] * num_rows}


def no_items(plan: FeaturePlan, num_items: int) -> FeatureColumns:
    """What a store has of items that are not there."""
    return FeatureColumns(dict.fromkeys(plan.item, (None,) * num_items), (False,) * num_items)
