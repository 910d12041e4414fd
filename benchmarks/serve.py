"""How fast `/rank` is: against LitServe, BentoML, Ray Serve, TorchServe, and Starlette with onnxruntime.

    python -m benchmarks.serve                                        # all, each in turn with ours
    python -m benchmarks.serve --servers BentoML --connections 8      # a part, into the figures that are kept
    python -m benchmarks.serve --markdown                             # the tables of the figures that are kept

One request is one user and 500 candidates, answered with the best 50. The model is MMoE of 4 experts [256, 128] over 30
tables of 66,000 rows x 16 and 10 numbers, trained and published by this project; the peers serve the same weights
as the plain network of `benchmarks/peers`. Bodies are of two kinds: with ids only, so that the server reads features of
the user and of all candidates from its store, where the peers read the same packed rows from LMDB; and with the
features of every candidate. All servers have one worker, one thread in torch or onnxruntime, and no access log.

Before a server is measured, its rankings must be those of the plain network. One server ranks nothing: it shows what
HTTP, decoding and the network take by themselves. Then 1, 8 and 32 connections each send again as soon as they have
their answer. Clients are one process, on a core of their own as far as the machine has one to spare; servers run on all
cores. Every other server is measured in turn with ours, `--rounds` times; figures are medians over rounds, ratios are
taken within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.support.agreement import Agreement
from benchmarks.support.closed_loop import Load, run
from benchmarks.support.rank_requests import BODY_KINDS, BodyKind, RequestBodies
from benchmarks.support.ranking_servers import OURS, SERVERS
from benchmarks.support.results import RESULTS, machine, write_results
from benchmarks.support.serve_tables import FIGURES, markdown
from benchmarks.support.server_tree import ServerTree
from benchmarks.support.serving_world import ROOT, ServingWorld

KEPT = RESULTS / "serve.json"
WORLD = ROOT / "build" / "serve"
NUM_BODIES, NUM_CHECKED = 256, 8
WARM_SECONDS = 0.7
Bodies = dict[BodyKind, list[bytes]]


def measure(name: str, world: ServingWorld, bodies: Bodies, agreement: Agreement, asked: argparse.Namespace) -> Any:
    """Start a server, hold its rankings against those of the plain network, and load it."""
    server = SERVERS[name]
    with (
        tempfile.TemporaryDirectory() as logs,
        server.running(world, next(iter(bodies.values()))[0], Path(logs)) as (tree, port),
    ):
        agreed = {kind: agreement.check(name, kind, port, server.path) for kind in bodies if server.ranks}
        tree.settle()
        cells = [
            {"body": kind, "connections": connections}
            | figures(_loaded(tree, port, server.path, bodies[kind], connections, asked.seconds))
            for kind in bodies
            for connections in asked.connections
        ]
        memory = [each._asdict() for each in tree.memory()]
    for cell in cells:
        print("  {body}, {connections}: {requests_per_second:.1f}/s, p99 {p99_ms:.1f} ms".format(**cell), flush=True)
    return {"cells": cells, "memory_mb": memory, "agreement": agreed}


def _loaded(tree: ServerTree, port: int, path: str, bodies: list[bytes], connections: int, seconds: float) -> Load:
    with _on_last_core():
        return run(
            port, path, bodies, connections, warm_seconds=WARM_SECONDS, seconds=seconds, server_cpu=tree.cpu_seconds
        )


@contextmanager
def _on_last_core() -> Iterator[None]:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def figures(load: Load) -> dict[str, float]:
    """What is kept of one load."""
    p50, p99 = np.percentile(load.latencies, (50, 99))
    return {
        "requests": len(load.latencies),
        "requests_per_second": len(load.latencies) / load.seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "cpu_ms": load.server_cpu_ms,
        "client_cpu_ms": load.client_cpu_ms,
    }


def summary(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over rounds of both, and of the ratios within each round, for every kind of body and every load."""
    cells: list[dict[str, Any]] = []
    for place, cell in enumerate(theirs[0]["cells"]):
        pairs = [(one["cells"][place], other["cells"][place]) for one, other in zip(ours, theirs, strict=True)]
        line: dict[str, Any] = {"body": cell["body"], "connections": cell["connections"]}
        for name in FIGURES:
            line |= {
                name: median(other[name] for _, other in pairs),
                f"ours_{name}": median(one[name] for one, _ in pairs),
                f"ratio_{name}": median(one[name] / other[name] for one, other in pairs),
            }
        cells.append(line)
    return cells


def contest(name: str, world: ServingWorld, bodies: Bodies, agreement: Agreement, asked: argparse.Namespace) -> Any:
    """Ours and another server in turn."""
    rounds: dict[str, list[Any]] = {OURS: [], name: []}
    for number in range(asked.rounds):
        for each in rounds:
            print(f"round {number + 1}, {each}", flush=True)
            rounds[each].append(measure(each, world, bodies, agreement, asked))
    settings = {"machine": machine(), "seconds": asked.seconds, "rounds": asked.rounds}
    return settings | {"summary": summary(rounds[OURS], rounds[name]), "measured": rounds}


def main() -> None:
    """Measure, print and keep."""
    others = [name for name in SERVERS if name != OURS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", nargs="+", choices=others, default=others, help="in turn with ours")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--bodies", nargs="+", choices=BODY_KINDS, default=list(BODY_KINDS))
    parser.add_argument("--seconds", type=float, default=4.0, help="of every load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--anew", action="store_true", help="train, publish and fill the store anew")
    parser.add_argument("--markdown", action="store_true", help="print the figures that are kept, and end")
    asked = parser.parse_args()
    kept = json.loads(KEPT.read_bytes())["contests"] if KEPT.exists() else {}
    if asked.markdown:
        print(markdown(kept))
        return
    world = ServingWorld.at(WORLD, asked.anew)
    requests = RequestBodies(world.folder / "items.parquet")
    bodies: Bodies = {kind: requests.make(kind, NUM_BODIES) for kind in asked.bodies}
    agreement = Agreement(world.peers, {kind: of_kind[:NUM_CHECKED] for kind, of_kind in bodies.items()})
    for name in asked.servers:
        kept[name] = contest(name, world, bodies, agreement, asked)
        path = write_results("serve", {"contests": kept})
    print(f"{markdown(kept)}\n\nkept in {path}")


if __name__ == "__main__":
    main()
