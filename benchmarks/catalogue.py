"""What the number of items costs: a million of them, with ten million users beside.

    python -m benchmarks.catalogue                       # all sizes; about ten minutes the first time
    python -m benchmarks.catalogue --items 1000 10000    # some of them, into the figures that are kept
    python -m benchmarks.catalogue --markdown            # the tables of the figures that are kept

The model is that of `benchmarks.serve`: 15 categories and 6 numbers of each item, the same width of users. For each
size the item table is built in a process of its own and mapped by another one; then a server with one worker ranks 500
candidates, one request at a time, with its item table and, in turn, reading rows of the store for each request.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.catalogue_plot import plot_catalogue
from benchmarks.support.catalogue_world import Catalogue
from benchmarks.support.closed_loop import exchange, run
from benchmarks.support.results import RESULTS, write_results
from benchmarks.support.server_tree import free_port, running
from benchmarks.support.serving_world import ROOT, ServingWorld

NAME = "catalogue"
FOLDER = ROOT / "build" / NAME
PLOT = ROOT / "docs" / "images" / f"{NAME}.svg"
SIZES = ((1_000, 10_000), (10_000, 10_000), (100_000, 10_000), (1_000_000, 10_000), (1_000_000, 10_000_000))
NUM_BODIES = 128
WARM_SECONDS = 1.0
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "RANKER_ACCESS_LOG": "false"}


def measure(catalogue: Catalogue, registry: Path, seconds: float) -> dict[str, Any]:
    """All figures of one size."""
    found: dict[str, Any] = {"items": catalogue.num_items, "users": catalogue.num_users, **catalogue.fill()}
    for what in ("build", "map"):
        found |= _probe(what, catalogue, registry)
    bodies = catalogue.bodies(NUM_BODIES)
    shutil.rmtree(catalogue.tables, ignore_errors=True)
    found["while_building"] = _serve(catalogue, registry, bodies, with_table=True, seconds=seconds, building=True)
    found["with_table"] = _serve(catalogue, registry, bodies, with_table=True, seconds=seconds)
    found["without_table"] = _serve(catalogue, registry, bodies, with_table=False, seconds=seconds)
    found["p50_ratio"] = found["without_table"]["p50_ms"] / found["with_table"]["p50_ms"]
    return found


def _probe(what: str, catalogue: Catalogue, registry: Path) -> dict[str, Any]:
    arguments = [what, str(registry), catalogue.store, str(catalogue.folder / "probe")]
    command = [sys.executable, "-m", "benchmarks.support.catalogue_probe", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _serve(
    catalogue: Catalogue,
    registry: Path,
    bodies: list[bytes],
    *,
    with_table: bool,
    seconds: float,
    building: bool = False,
) -> dict[str, float]:
    """Start a server and load it; `building`: from when it answers, while it builds its table, which then stays."""
    port = free_port()
    options = ["--registry", str(registry), "--store", catalogue.store, "--port", str(port)]
    options += ["--policies", f"sqlite:{catalogue.folder / 'policies.sqlite'}"]
    settings = {
        "RANKER_ITEM_TABLE__ENABLED": str(with_table).lower(),
        "RANKER_ITEM_TABLE__PATH": str(catalogue.tables),
    }
    with tempfile.TemporaryDirectory() as logs:
        start = time.perf_counter()
        command = [sys.executable, "-m", "serving.cli", "run", *options]
        log = Path(logs) / "server.log"
        with running(
            command, {**ENVIRONMENT, **settings}, ROOT, log, lambda: exchange(port, "/rank", bodies[0])
        ) as tree:
            started = time.perf_counter() - start
            if with_table and not building:
                _wait_for_table(catalogue)
            load = run(
                port, "/rank", bodies, 1, warm_seconds=WARM_SECONDS, seconds=seconds, server_cpu=tree.cpu_seconds
            )
            if building:
                _wait_for_table(catalogue)
            return {
                "start_seconds": started,
                "p50_ms": float(np.median(load.latencies)),
                "p99_ms": float(np.percentile(load.latencies, 99)),
                "requests": len(load.latencies),
                "cpu_ms": load.server_cpu_ms,
                "private_mb": tree.memory()[0].private,
            }


def _wait_for_table(catalogue: Catalogue) -> None:
    """Until a table is there, and the server has had time to map it."""
    while not list(catalogue.tables.glob("*/[0-9]*/table.json")):
        time.sleep(0.2)
    time.sleep(1.5)


def keep(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Merge figures into those that are kept; all of them, by size."""
    path = RESULTS / f"{NAME}.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["sizes"] if path.exists() else []
    by_size = {(one["items"], one["users"]): one for one in [*kept, *found]}
    sizes = [by_size[size] for size in sorted(by_size)]
    if found:
        write_results(NAME, {"sizes": sizes})
        plot_catalogue(sizes, PLOT)
    return sizes


def markdown(sizes: list[dict[str, Any]]) -> str:
    """The figures as tables."""
    tables = [
        "| items | users | built, s | on disk, MB | mapped, s | private memory, MB | 500 found, µs | encoded, µs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    tables += [
        f"| {one['items']:,} | {one['users']:,} | {one['build_seconds']:.1f} | {one['table_bytes'] / 1e6:.1f} "
        f"| {one['open_seconds']:.2f} | {max(one['private_bytes'], 0) / 1e6:.1f} | {one['find_us']['median']:.0f} "
        f"| {one['encode_us']['median']:.0f} |"
        for one in sizes
    ]
    tables += [
        "",
        "| items | users | table: p50, p99 ms | no table | ratio | while one is built | start, s | store, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    tables += [
        f"| {one['items']:,} | {one['users']:,} | {_latency(one['with_table'])} | {_latency(one['without_table'])} "
        f"| {one['p50_ratio']:.1f} | {_latency(one['while_building'])} | {one['with_table']['start_seconds']:.1f} "
        f"| {one['store_bytes'] / 1e9:.2f} |"
        for one in sizes
    ]
    return "\n".join(tables)


def _latency(load: dict[str, float]) -> str:
    return f"{load['p50_ms']:.1f}, {load['p99_ms']:.1f}"


def main() -> None:
    """Measure what the command line names, print it, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="*", default=[items for items, _ in SIZES], help="sizes to measure")
    parser.add_argument("--users", type=int, nargs="*", default=[users for _, users in SIZES], help="likewise")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each load")
    parser.add_argument("--markdown", action="store_true", help="only print the figures that are kept")
    asked = parser.parse_args()
    sizes = keep([])
    if not asked.markdown:
        registry = ServingWorld.at(FOLDER / "model", anew=False).registry
        for items, users in SIZES:
            if items in asked.items and users in asked.users:
                sizes = keep([measure(Catalogue(FOLDER, items, users), registry, asked.seconds)])
                print(json.dumps(sizes), flush=True)
    print(markdown(sizes))


if __name__ == "__main__":
    main()
