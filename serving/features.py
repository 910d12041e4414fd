"""From ids to columns of raw values: what the store has, what the request brings, and what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from feature_store import FeatureRow, FeatureStore, SchemaMismatch, StoreUnavailable, UnknownView, ViewSchema
from ranker.schema import Schema, Side
from serving.breaker import Breaker
from serving.errors import NotReady
from serving.known_users import KnownUsers
from serving.values import Kind, kind_of

USER_VIEW = "user"
ITEM_VIEW = "item"

Id = str | int
Columns = dict[str, list[Any]]
T = TypeVar("T")

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


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store answered for one request. Rows are `None` where it has none, or could not be asked."""

    user: FeatureRow | None
    items: Sequence[FeatureRow | None]
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request as far as features go: checked against the plan, ids as they came."""

    user_id: Id | None
    item_ids: Sequence[Id]
    context: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


class FeatureSource:
    """Reads the features of requests; a store that is away degrades an answer and never fails it.

    Args:
        store: Where they are.
        timeout_seconds: A slower answer counts as none.
        breaker: Keeps requests from a store that fails.
        known_users: What stands in for the user's features meanwhile.
    """

    def __init__(self, store: FeatureStore, timeout_seconds: float, breaker: Breaker, known_users: KnownUsers) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker
        self._known_users = known_users

    async def fetch(self, plan: FeaturePlan, wanted: Wanted) -> Stored:
        """The stored rows of the user and of the candidates, in one round trip each, at the same time.

        Raises:
            NotReady: The store was built for another schema.
        """
        users = [wanted.user_id] if plan.user and wanted.user_id is not None else []
        places = (
            []
            if not plan.item
            else [
                place for place in range(len(wanted.item_ids)) if len(wanted.overrides.get(place, ())) < len(plan.item)
            ]
        )
        user_rows, item_rows = await asyncio.gather(
            self.rows(USER_VIEW, users), self.rows(ITEM_VIEW, [wanted.item_ids[place] for place in places])
        )
        items: list[FeatureRow | None] = [None] * len(wanted.item_ids)
        for place, row in zip(places, item_rows or (), strict=False):
            items[place] = row
        user, degraded = self._user(wanted.user_id, user_rows)
        if item_rows is None:
            degraded += (f"{ITEM_VIEW}_features_unavailable",)
        return Stored(user, items, degraded)

    def _user(
        self, user_id: Id | None, rows: Sequence[FeatureRow | None] | None
    ) -> tuple[FeatureRow | None, tuple[str, ...]]:
        """The user's row and what is wrong with it: the last known one, if the store did not answer."""
        if user_id is None or rows == []:
            return None, ()
        if rows is not None:
            self._known_users.learn(user_id, rows[0])
            return rows[0], ()
        known = self._known_users.get(user_id)
        return known, (f"{USER_VIEW}_features_{'stale' if known else 'unavailable'}",)

    async def problem(self, plan: FeaturePlan) -> str | None:
        """Why the store cannot serve a model with this plan, with the fix; `None` if it can, or cannot be asked."""
        try:
            for view, columns, key in ((USER_VIEW, plan.user, plan.user_key), (ITEM_VIEW, plan.item, plan.item_key)):
                if columns and (fault := _misfit(view, await self._asked(self._store.schema(view)), columns, key)):
                    return fault
        except (StoreUnavailable, TimeoutError):
            return None  # not known to be wrong; requests say `..._features_unavailable` meanwhile
        return None

    async def trouble(self) -> str | None:
        """What keeps the store from answering, if anything does."""
        try:
            await self._asked(self._store.ping())
        except TimeoutError:
            return f"feature store did not answer within {self._timeout_seconds:g} s"
        except StoreUnavailable as exc:
            return f"feature store cannot be used: {exc}"
        return None

    async def rows(self, view: str, ids: Sequence[Id]) -> Sequence[FeatureRow | None] | None:
        """Rows in the order of the ids; `None` if the store is away.

        Raises:
            NotReady: The store has no such view, or rows of a schema that it does not know.
        """
        if not ids:
            return []
        if not self._breaker.allows():
            return None
        try:
            rows = await self._asked(self._store.get_many(view, ids))
        except (StoreUnavailable, TimeoutError):
            self._breaker.failed()
            return None
        except (SchemaMismatch, UnknownView) as exc:
            self._breaker.succeeded()  # it answers
            raise NotReady(f"feature store does not fit the model: {exc}") from exc
        except asyncio.CancelledError:  # the request's own deadline is over: that tells nothing about the store
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return rows

    async def _asked(self, question: Awaitable[T]) -> T:
        async with asyncio.timeout(self._timeout_seconds):
            return await question


def request_columns(plan: FeaturePlan, wanted: Wanted, stored: Stored) -> Columns:
    """The request's own row: user and context columns, one value each, `None` where missing."""
    user = {} if stored.user is None else stored.user.values
    values = {name: user.get(name) for name in plan.user}
    values |= {name: wanted.context.get(name) for name in plan.context}
    values |= dict.fromkeys(plan.user_id, wanted.user_id)
    return {name: [value] for name, value in values.items()} or _no_columns(1)


def item_columns(plan: FeaturePlan, wanted: Wanted, stored: Stored) -> Columns:
    """The candidates' rows by column: stored values, then what the candidates override."""
    # `get`: a row written before a column was added does not have it; to the model that is a missing value.
    columns = {name: [None if row is None else row.values.get(name) for row in stored.items] for name in plan.item}
    for place, features in wanted.overrides.items():
        for name, value in features.items():
            columns[name][place] = value
    columns |= {name: list(wanted.item_ids) for name in plan.item_id}
    return columns or _no_columns(len(wanted.item_ids))


def num_missing_items(plan: FeaturePlan, wanted: Wanted, stored: Stored) -> int:
    """Candidates for which the store has no row though the model needs one."""
    if not plan.item:
        return 0
    return sum(
        row is None and len(wanted.overrides.get(place, ())) < len(plan.item) for place, row in enumerate(stored.items)
    )


def _kinds(schema: Schema, side: Side, exclude: set[str | None] | frozenset[str] = frozenset()) -> dict[str, Kind]:
    """The sort of values in each column of a side; the strictest where several features read one column."""
    strictness: tuple[Kind, ...] = ("category", "number", "list")
    kinds: dict[str, Kind] = {}
    for feature in schema.features:
        if feature.side == side and feature.column not in exclude:
            kind = kind_of(feature)
            kinds[feature.column] = max(kind, kinds.get(feature.column, kind), key=strictness.index)
    return kinds


def _misfit(view: str, schema: ViewSchema | None, columns: Mapping[str, Kind], key: str) -> str | None:
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


def _no_columns(num_rows: int) -> Columns:
    """Stands for a side without features: the encoder takes the number of rows from any column."""
    return {"": [None] * num_rows}
