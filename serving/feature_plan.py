"""Where a model's features come from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from feature_store import FeatureColumns, ViewSchema
from ranker.schema import Schema, Side
from serving.values import Kind, kind_of
from serving.wanted import Wanted

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
