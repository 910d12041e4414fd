"""Feature stores with as many items and users as wanted, for the model that `benchmarks.serve` serves."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.support import serving_log as log
from feature_store import Column, FeatureStore, Row, ViewSchema, parse_store

NUM_CANDIDATES, TOP_K = 500, 50
_CHUNK_ROWS = 20_000
_MAP_BYTES = 2**34


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The store of one size.

    Attributes:
        root: Folder of all sizes.
        num_items: Items `i0`, `i1` and so on.
        num_users: Users, likewise.
    """

    root: Path
    num_items: int
    num_users: int

    @property
    def folder(self) -> Path:
        """Of this size."""
        return self.root / f"{self.num_items}-{self.num_users}"

    @property
    def store(self) -> str:
        """The feature store, as the command line names it."""
        return f"lmdb:{self.folder / 'features'}?map_size_bytes={_MAP_BYTES}"

    @property
    def tables(self) -> Path:
        """Where item tables are kept."""
        return self.folder / "item_tables"

    def fill(self) -> dict[str, Any]:
        """Write the features, unless they are there; how long each view took, and what they take on disk."""
        kept = self.folder / "filled.json"
        if not kept.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            kept.write_text(json.dumps(asyncio.run(self._filled())), encoding="utf-8")
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found

    async def _filled(self) -> dict[str, Any]:
        async with parse_store(self.store).build() as store:
            seconds = {
                "item": await _fill(store, "item", log.ITEM, self.num_items),
                "user": await _fill(store, "user", log.USER, self.num_users),
            }
        size = sum(path.stat().st_blocks * 512 for path in (self.folder / "features").iterdir())
        return {"fill_seconds": seconds, "store_bytes": size}

    def bodies(self, count: int, seed: int = 0) -> list[bytes]:
        """Different bodies of `/rank`; the n-th item and user is drawn with a chance of about 1 / n."""
        random = np.random.default_rng(seed)
        return [orjson.dumps(self._body(random)) for _ in range(count)]

    def _body(self, random: np.random.Generator) -> dict[str, Any]:
        categories = {name: int(random.integers(log.TABLE_ROWS)) for name in log.CONTEXT.categories}
        numbers = {name: round(float(random.normal()), 3) for name in log.CONTEXT.numbers}
        return {
            "user_id": f"u{int(_law(random, self.num_users, 1)[0])}",
            "context": categories | numbers,
            "candidates": candidates(random, self.num_items),
            "top_k": TOP_K,
        }


def candidates(random: np.random.Generator, num_items: int) -> list[str]:
    """Different ids, those with small numbers more often."""
    drawn: dict[int, None] = {}
    while len(drawn) < NUM_CANDIDATES:
        drawn |= dict.fromkeys(_law(random, num_items, NUM_CANDIDATES).tolist())
    return [f"i{number}" for number in list(drawn)[:NUM_CANDIDATES]]


def _law(random: np.random.Generator, count: int, num_draws: int) -> log.Ids:
    """Numbers below `count`, the n-th with a chance of about 1 / n."""
    return np.floor((count + 1.0) ** random.random(num_draws)).astype(np.int64) - 1


async def _fill(store: FeatureStore, view: str, columns: log.Columns, num_rows: int) -> float:
    types = [Column(name, "int") for name in columns.categories] + [Column(name, "float") for name in columns.numbers]
    await store.create_view(ViewSchema(view, tuple(types)))
    start = time.perf_counter()
    await store.put_many(view, _rows(view[0], columns, num_rows))
    return time.perf_counter() - start


def _rows(prefix: str, columns: log.Columns, num_rows: int) -> Iterator[Row]:
    random = np.random.default_rng(0)
    for start in range(0, num_rows, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, num_rows - start)
        categories = random.integers(0, log.TABLE_ROWS, (count, len(columns.categories))).tolist()
        numbers = random.normal(size=(count, len(columns.numbers))).round(3).tolist()
        for place in range(count):
            values = dict(zip(columns.names, categories[place] + numbers[place], strict=True))
            yield f"{prefix}{start + place}", values, None
