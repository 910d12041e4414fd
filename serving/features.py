"""From ids to columns of raw values: what the store has, what the request brings, and what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from feature_store import FeatureRow, FeatureStore, SchemaMismatch, StoreUnavailable, UnknownView
from serving.breaker import Breaker
from serving.errors import NotReady
from serving.feature_plan import FeaturePlan, Id, Wanted, misfit
from serving.items import ItemSnapshot
from serving.known_users import KnownUsers

USER_VIEW = "user"
ITEM_VIEW = "item"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known about one request's user and candidates.

    Attributes:
        user: The user's row; `None` where the store has none, or could not be asked.
        items: All items at one moment, or the candidates' rows, likewise.
        degraded: What is not as it should be.
    """

    user: FeatureRow | None
    items: ItemSnapshot | Sequence[FeatureRow | None]
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
        """The stored row of the user, and those of the candidates: in one round trip each, at the same time.

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
            return Stored(user, [None] * len(wanted.item_ids), (*degraded, f"{ITEM_VIEW}_features_unavailable"))
        return Stored(user, candidates, degraded)

    async def _candidates(self, plan: FeaturePlan, wanted: Wanted) -> Sequence[FeatureRow | None] | None:
        """Rows of the candidates that do not bring all by themselves; `None` if the store is away."""
        if plan.item and ITEM_VIEW not in self._views:
            return None
        needed = [place for place in range(len(wanted.item_ids)) if plan.needs_row(wanted.overrides.get(place, ()))]
        rows = await self.rows(ITEM_VIEW, [wanted.item_ids[place] for place in needed])
        if rows is None:
            return None
        found: list[FeatureRow | None] = [None] * len(wanted.item_ids)
        for place, row in zip(needed, rows, strict=True):
            found[place] = row
        return found

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
        if not self._breaker.allows():
            return None
        try:
            max_age_seconds = self._max_age_seconds.get(view)
            rows = await self._asked(self._store.get_many(view, ids, max_age_seconds=max_age_seconds))
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


def request_row(plan: FeaturePlan, wanted: Wanted, stored: Stored) -> dict[str, Any]:
    """The request's own row: a value for each user and context column, `None` where missing."""
    user = {} if stored.user is None else stored.user.values
    values = {name: user.get(name) for name in plan.user}
    values |= {name: wanted.context.get(name) for name in plan.context}
    return values | dict.fromkeys(plan.user_id, wanted.user_id)
