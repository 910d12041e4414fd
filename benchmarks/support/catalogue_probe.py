"""One process that builds the item table of a catalogue, or maps it and looks items up; prints JSON.

python -m benchmarks.support.catalogue_probe build REGISTRY STORE TABLES
python -m benchmarks.support.catalogue_probe map REGISTRY STORE TABLES
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.catalogue_world import candidates
from feature_store import parse_store
from feature_store.item_index import HashedIds
from feature_store.item_table import ItemTable
from ranker.registry import Registry
from serving.feature_plan import FeaturePlan
from serving.items import ItemSide, ItemSnapshot, StoreSource
from serving.items.build import build_table
from serving.wanted import Wanted

_NAME = "table"
_NUM_REQUESTS = 400


def build(side: ItemSide, source: StoreSource, folder: Path) -> dict[str, Any]:
    """Build the table of all items."""
    shutil.rmtree(folder, ignore_errors=True)
    before, start = _peak_bytes(), time.perf_counter()
    build_table(source, side.encoder, folder / _NAME)
    return {
        "build_seconds": time.perf_counter() - start,
        "build_peak_bytes": _peak_bytes() - before,
        "table_bytes": sum(path.stat().st_size for path in (folder / _NAME).iterdir()),
    }


def look_up(side: ItemSide, folder: Path) -> dict[str, Any]:
    """Map the table, and look up the candidates of many requests."""
    num_items = ItemTable.open(folder / _NAME).num_rows - 1
    random = np.random.default_rng(0)
    requests = [candidates(random, num_items) for _ in range(_NUM_REQUESTS)]
    anywhere = [[f"i{item}" for item in random.integers(num_items, size=500)] for _ in range(_NUM_REQUESTS)]
    wanted = [Wanted(None, ids) for ids in requests]
    before, start = _dirty_bytes(), time.perf_counter()
    table = ItemTable.open(folder / _NAME)
    snapshot, index = ItemSnapshot.of_table(table, _NAME), table.id_index
    opened = time.perf_counter() - start
    return {
        "open_seconds": opened,
        "find_us": _microseconds(lambda n: index.find(HashedIds.of(requests[n]))),
        "find_anywhere_us": _microseconds(lambda n: index.find(HashedIds.of(anywhere[n]))),
        "encode_us": _microseconds(lambda n: side.encode(wanted[n], snapshot)),
        "private_bytes": _dirty_bytes() - before,
    }


def _microseconds(work: Callable[[int], object]) -> dict[str, float]:
    """Median and more over all requests, after a pass over all of them that is not counted."""
    taken: list[float] = []
    for number in [*range(_NUM_REQUESTS), *range(_NUM_REQUESTS)]:
        start = time.perf_counter()
        work(number)
        taken.append(1e6 * (time.perf_counter() - start))
    counted = taken[_NUM_REQUESTS:]
    return {"median": float(np.median(counted)), "p99": float(np.percentile(counted, 99)), "least": min(counted)}


def _dirty_bytes() -> int:
    """What this process has written to memory: mapped pages that it only reads are the page cache's."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Do what the command line says."""
    what, registry, store, folder = sys.argv[1:]
    bundle = Registry(registry).load()
    side = ItemSide(bundle.encoder, FeaturePlan.of(bundle.schema))
    path = Path(folder)
    found = build(side, StoreSource(parse_store(store)), path) if what == "build" else look_up(side, path)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
