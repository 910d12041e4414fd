"""`ranker-serve bench`: ask a running server for rankings, and tell how it did."""

from __future__ import annotations

import json
from typing import Annotated

import typer
import uvloop

from feature_store import InvalidInput, StoreError, parse_store
from serving.bench.connections import Connections
from serving.bench.open_loop import Arrivals, OpenLoop
from serving.bench.outcomes import Summary
from serving.bench.sweep import find_peak
from serving.bench.workload import Ids, Workload

_NUM_BODIES = 1_000
_MOST_PER_SECOND = 20_000.0
_BUSY = 0.8


def bench(
    url: Annotated[str, typer.Argument(help="Of the server, like http://127.0.0.1:8000.")],
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Requests per second; left out: rates rise until it falls behind.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each rate is offered.")] = 10.0,
    candidates: Annotated[str, typer.Option(help="Sizes of requests, each as likely: 500, or 100,500,1000.")] = "500",
    users: Annotated[str, typer.Option(help="Ids of users: PATTERN=COUNT, like u{}=5000.")] = "u{}=1000",
    items: Annotated[str, typer.Option(help="Ids of items: PATTERN=COUNT, like i{}=100000.")] = "i{}=1000",
    store: Annotated[
        str | None, typer.Option(help="Take ids of users and items from this store: lmdb:PATH or redis://HOST:PORT/DB.")
    ] = None,
    skew: Annotated[float, typer.Option(min=0, help="Zipf's exponent over users and items; 0: all alike.")] = 1.0,
    top_k: Annotated[int, typer.Option(min=1, help="Places wanted.")] = 50,
    context: Annotated[str, typer.Option(help="JSON object sent with every request.")] = "{}",
    arrivals: Annotated[Arrivals, typer.Option(help="At random moments, or evenly.")] = "poisson",
    connections: Annotated[int, typer.Option(min=1, help="Connections at a time, at most.")] = 256,
    timeout_ms: Annotated[int, typer.Option(min=1, help="Sent as X-Request-Timeout-Ms.")] = 5_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per rate, and nothing else.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same requests.")] = 0,
) -> None:
    """Offer ranking requests to a running server at a rate that does not wait for its answers.

    Times begin when a request was to be sent, so that waiting counts wherever it happens.

    Examples:

        ranker-serve bench http://127.0.0.1:8000 --rate 200 --seconds 30 --store lmdb:features

        ranker-serve bench http://127.0.0.1:8000 --users u{}=5000 --items i{}=100000 --candidates 100,500,1000
    """
    try:
        workload = uvloop.run(_workload(users, items, store, candidates, skew, top_k, context))
        pool_options = (url, connections, timeout_ms / 1000 + 5.0, {"X-Request-Timeout-Ms": str(timeout_ms)})
        Connections(*pool_options)
    except (ValueError, InvalidInput, StoreError) as exc:
        raise typer.BadParameter(str(exc)) from exc
    bodies = workload.bodies(_NUM_BODIES, seed)

    async def measure() -> Summary:
        pool = Connections(*pool_options)
        loop = OpenLoop(pool, bodies, arrivals)

        async def offer(per_second: float) -> Summary:
            summary = await loop.run(per_second, seconds, seed)
            typer.echo(json.dumps(summary._asdict()) if as_json else _line(summary))
            return summary

        try:
            await OpenLoop(pool, bodies[:50], "constant").run(20, 1.0)  # connections, caches
            return await (offer(rate) if rate is not None else find_peak(offer, 25.0, _MOST_PER_SECOND))
        finally:
            await pool.close()

    if not as_json:
        typer.echo(_HEADING)
    peak = uvloop.run(measure())
    if not as_json and rate is None:
        typer.echo(f"peak: {peak.ranked_per_second:.0f} rankings per second, p99 {peak.ranked_ms.get('p99', 0):.1f} ms")


async def _workload(
    users: str, items: str, store: str | None, candidates: str, skew: float, top_k: int, context: str
) -> Workload:
    if store is None:
        ids = _numbered(users), _numbered(items)
    else:
        config = parse_store(store)
        ids = await Ids.stored(config, "user", 1_000_000), await Ids.stored(config, "item", 1_000_000)
    sizes = [int(size) for size in candidates.split(",")]
    if min(sizes) < 1:
        raise ValueError(f"--candidates must be at least 1, got {candidates}")
    decoded = json.loads(context)
    if not isinstance(decoded, dict):
        raise ValueError(f"--context must be a JSON object, got {context}")
    return Workload(*ids, sizes, skew, top_k, decoded)


def _numbered(text: str) -> Ids:
    pattern, _, count = text.rpartition("=")
    if not count.isdecimal():
        raise ValueError(f"ids must be PATTERN=COUNT, like u{{}}=5000, got {text!r}")
    return Ids.numbered(pattern, int(count))


_HEADING = f"{'offered/s':>10} {'ranked/s':>9} {'p50 ms':>8} {'p90':>8} {'p99':>8} {'p99.9':>8} {'max':>8}  answers"


def _line(summary: Summary) -> str:
    times = [summary.ranked_ms.get(name, float("nan")) for name in ("p50", "p90", "p99", "p99.9", "p100")]
    figures = "".join(f" {value:8.1f}" for value in times)
    answers = ", ".join(f"{number} x {status}" for status, number in summary.answers.items())
    warning = f"  (load generator busy: {summary.busy:.0%})" if summary.busy > _BUSY else ""
    return f"{summary.offered_per_second:10.1f} {summary.ranked_per_second:9.1f}{figures}  {answers}{warning}"
