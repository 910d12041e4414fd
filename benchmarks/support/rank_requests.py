"""Ranking requests as users make them: a few users and items are in most of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import orjson
import pyarrow.parquet as pq

from benchmarks.support import serving_log as log

BodyKind = Literal["ids", "features"]
BODY_KINDS: tuple[BodyKind, ...] = get_args(BodyKind)
NUM_CANDIDATES, TOP_K = 500, 50


class RequestBodies:
    """Makes bodies of `/rank` with `NUM_CANDIDATES` candidates each.

    The n-th user, and the n-th item among those left, is drawn with a chance proportional to 1 / n.

    Args:
        items: Parquet file of the items with their features.
        seed: Of all that is drawn.
    """

    def __init__(self, items: Path, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._features = pq.read_table(items, columns=list(log.ITEM.names))

    def make(self, kind: BodyKind, count: int) -> list[bytes]:
        """Different bodies, JSON.

        Args:
            kind: `ids`: candidates are ids; `features`: each brings all features of its item.
            count: How many.
        """
        return [orjson.dumps(self._body(kind)) for _ in range(count)]

    def _body(self, kind: BodyKind) -> dict[str, Any]:
        items = self._draw(log.NUM_ITEMS, NUM_CANDIDATES)
        candidates: list[Any] = [f"i{item}" for item in items]
        if kind == "features":
            rows = self._features.take(items).to_pylist()
            candidates = [{"item_id": item_id, "features": row} for item_id, row in zip(candidates, rows, strict=True)]
        context = {name: int(self._random.integers(log.TABLE_ROWS)) for name in log.CONTEXT.categories}
        numbers = {name: round(float(self._random.normal()), 3) for name in log.CONTEXT.numbers}
        user = self._draw(log.NUM_USERS, 1)[0]
        return {"user_id": f"u{user}", "context": context | numbers, "candidates": candidates, "top_k": TOP_K}

    def _draw(self, population: int, count: int) -> log.Ids:
        """Different numbers below `population`, best first by log chance plus Gumbel noise: draws without putting back.

        Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
        """
        keys = self._random.gumbel(size=population) - np.log(np.arange(1, population + 1))
        return np.argpartition(-keys, count)[:count]
