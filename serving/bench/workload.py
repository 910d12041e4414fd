"""Who asks for what: bodies of `/rank` in which few users and items are in most of the requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson

from feature_store import StoreConfig


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of one kind; the first are drawn most often."""

    names: Sequence[str]

    @classmethod
    def numbered(cls, pattern: str, count: int) -> Self:
        """Ids made of a pattern and the numbers from 0, like `u{}`.

        Raises:
            ValueError: The pattern has no place for the number, or there are none.
        """
        if "{}" not in pattern or count < 1:
            raise ValueError(f"ids must be a pattern with {{}} and a number of at least 1, got {pattern!r}, {count}")
        return cls([pattern.replace("{}", str(number)) for number in range(count)])

    @classmethod
    async def stored(cls, store: StoreConfig, view: str, most: int) -> Self:
        """The first ids of a view of a feature store, in the order in which it tells them.

        Raises:
            ValueError: The view has no rows.
            StoreError: The store cannot be read.
        """
        names: list[str] = []
        async with store.build() as opened:
            async for rows in opened.scan_rows(view):
                names += [entity_id for entity_id, _ in islice(rows, most - len(names))]
                if len(names) >= most:
                    break
        if not names:
            raise ValueError(f"view '{view}' must have rows to take ids from, got none; fill the store first")
        return cls(names)


@dataclass(frozen=True, slots=True)
class Workload:
    """What requests look like.

    Attributes:
        users: Who asks; one per request.
        items: What may be ranked.
        num_candidates: Sizes of requests, each as likely; no more than there are items.
        skew: Exponent s of Zipf's law: the n-th id is drawn with a chance proportional to n^-s; 0: all alike.
        top_k: Places wanted; `None`: all.
        context: Sent with every request.
    """

    users: Ids
    items: Ids
    num_candidates: Sequence[int]
    skew: float = 1.0
    top_k: int | None = 50
    context: Mapping[str, Any] = field(default_factory=dict)

    def bodies(self, count: int, seed: int = 0) -> list[bytes]:
        """Bodies of requests; the same seed gives the same."""
        random = np.random.default_rng(seed)
        users, items = self._chances(self.users), self._chances(self.items)
        return [self._body(random, users, items) for _ in range(count)]

    def _body(
        self, random: np.random.Generator, users: npt.NDArray[np.float64], items: npt.NDArray[np.float64]
    ) -> bytes:
        size = min(int(random.choice(self.num_candidates)), len(items))
        body: dict[str, Any] = {
            "user_id": self.users.names[_drawn(random, users, 1)[0]],
            "context": dict(self.context),
            "candidates": [self.items.names[place] for place in _drawn(random, items, size)],
        }
        return orjson.dumps(body | ({} if self.top_k is None else {"top_k": self.top_k}))

    def _chances(self, ids: Ids) -> npt.NDArray[np.float64]:
        """Chance to draw each id or one before it."""
        weights = np.arange(1, len(ids.names) + 1, dtype=np.float64) ** -self.skew
        summed: npt.NDArray[np.float64] = np.cumsum(weights) / weights.sum()
        return summed


def _drawn(random: np.random.Generator, chances: npt.NDArray[np.float64], count: int) -> list[int]:
    """Different places, drawn one after the other, those that come again left out."""
    num_draws = 2 * count
    while True:
        draws = np.minimum(np.searchsorted(chances, random.random(num_draws), side="right"), len(chances) - 1)
        places, first = np.unique(draws, return_index=True)
        if len(places) >= count:
            chosen: list[int] = places[np.argsort(first)][:count].tolist()
            return chosen
        num_draws *= 4
