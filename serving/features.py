"""From ids to columns of raw values: what the store has, what the request brings, and what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from feature_store import FeatureColumns, FeatureRow, FeatureStore, SchemaMismatch, StoreUnavailable, UnknownView
from serving.breaker import Breaker
from serving.errors import NotReady
from serving.feature_plan import FeaturePlan, misfit, no_items
from serving.items import ItemSnapshot
from serving.known_users import KnownUsers
from serving.wanted import Id, Wanted

USER_VIEW = "user"
ITEM_VIEW = "item"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known about one request's user and candidates.

    Attributes:
        user: The user's row; `None` where the store has none, or could not be asked.
        items: All items at one moment, or what the store has of the candidates, in their order.
        degraded: What is not as it should be.
    """

    user: FeatureRow | None
    items: ItemSnapshot | FeatureColumns
    degraded: tuple[str, ...] = ()


class FeatureSource:
    """Reads the features of requests; a store that is away degrades an answer and never fails it.

    Args:
        store: Where they are.
        timeout_seconds: A slower answer counts as none.
        breaker: Keeps requests from a store that fails.
        known_users: What stands in for the user's features meanwhile.
        max_age_seconds: By view; rows with an older event time, or none, count as missing.
        views: That the store has. Items elsewhere are unavailable to whoever does not know all of them.
    """

    def __init__(
        self,
        store: FeatureStore,
        timeout_seconds: float,
        breaker: Breaker,
        known_users: KnownUsers,
        max_age_seconds: Mapping[str, float | None] | None = None,
        views: Collection[str] = (USER_VIEW, ITEM_VIEW),
    ) -> None:
        self._store = store
        self._timeout_seconds = timeout_seconds
        self._breaker = breaker
        self._known_users = known_users
        self._max_age_seconds = max_age_seconds or {}
        self._views = views

    async def fetch(self, plan: FeaturePlan, wanted: Wanted, items: ItemSnapshot | None = None) -> Stored:
        """What the store has of the user and of the candidates: in one round trip each, at the same time.

        Args:
            plan: Of the model.
            wanted: The request.
            items: All items, where they are known: the store is then asked for the user only.

        Raises:
            NotReady: The store was built for another schema.
        """
        users = [wanted.user_id] if plan.user and wanted.user_id is not None else []
        if items is not None:
            user, degraded = self._user(wanted.user_id, await self.rows(USER_VIEW, users))
            stale = (f"{ITEM_VIEW}_features_stale",) if items.is_stale else ()
            return Stored(user, items, degraded + stale)
        user_rows, candidates = await asyncio.gather(self.rows(USER_VIEW, users), self._candidates(plan, wanted))
        user, degraded = self._user(wanted.user_id, user_rows)
        if candidates is None:
            nothing = no_items(plan, len(wanted.item_ids))
            return Stored(user, nothing, (*degraded, f"{ITEM_VIEW}_features_unavailable"))
        return Stored(user, candidates, degraded)

    async def _candidates(self, plan: FeaturePlan, wanted: Wanted) -> FeatureColumns | None:
        """What the store has of candidates that do not bring all by themselves; `None` if it is away."""
        num_candidates = len(wanted.item_ids)
        if plan.item and ITEM_VIEW not in self._views:
            return None
        needed = [place for place in range(num_candidates) if plan.needs_row(wanted.overrides.get(place, ()))]
        if not needed:
            return no_items(plan, num_candidates)
        ids, columns = [wanted.item_ids[place] for place in needed], tuple(plan.item)
        max_age_seconds = self._max_age_seconds.get(ITEM_VIEW)
        read = partial(self._store.get_columns, ITEM_VIEW, ids, columns, max_age_seconds=max_age_seconds)
        found = await self._answer(read)
        if found is None or len(needed) == num_candidates:
            return found
        values = {name: _spread(column, needed, [None] * num_candidates) for name, column in found.values.items()}
        return FeatureColumns(values, _spread(found.present, needed, [False] * num_candidates))

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
        needs = ((USER_VIEW, plan.user, plan.user_key), (ITEM_VIEW, plan.item, plan.item_key))
        try:
            for view, columns, key in needs:
                if not columns or view not in self._views:
                    continue
                if fault := misfit(view, await self._asked(self._store.schema(view)), columns, key):
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
        max_age_seconds = self._max_age_seconds.get(view)
        return await self._answer(partial(self._store.get_many, view, ids, max_age_seconds=max_age_seconds))

    async def _answer(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """What the store answers; `None` if it is away.

        Raises:
            NotReady: The store has no such view, or rows of a schema that it does not know.
        """
        if not self._breaker.allows():
            return None
        try:
            answer = await self._asked(ask())
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
        return answer

    async def _asked(self, question: Awaitable[T]) -> T:
        async with asyncio.timeout(self._timeout_seconds):
            return await question


def _spread(values: Sequence[T], places: Sequence[int], among: list[T]) -> list[T]:
    """Others with `values` at `places`."""
    for place, value in zip(places, values, strict=True):
        among[place] = value
    return among


def request_row(plan: FeaturePlan, wanted: Wanted, stored: Stored) -> dict[str, Any]:
    """The request's own row: a value for each user and context column, `None` where missing."""
    user = {} if stored.user is None else stored.user.values
    values = {name: user.get(name) for name in plan.user}
    values |= {name: wanted.context.get(name) for name in plan.context}
    return values | dict.fromkeys(plan.user_id, wanted.user_id)
