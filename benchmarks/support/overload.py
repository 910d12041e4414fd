"""Ten times the load that a server can take, and hundreds of new models, items and policies under load."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import orjson

from benchmarks.support.fault_scene import Scene, under_load
from benchmarks.support.watch import Seen, Watch
from benchmarks.support.workers import Workers
from feature_store import parse_store
from serving.bench import Connections, OpenLoop, Summary, find_peak

_FACTOR = 10
_SECONDS, _WARM_SECONDS = 5.0, 1.0
_NUM_CONNECTIONS = 1_024
_CHANGED_ITEMS = 60  # a round; more than the server keeps beside its table, so that it builds another
_EVERY = 4  # swaps
_SETTLED = 40  # swaps after which memory is taken for settled
_TAKEOVER_SECONDS = 4.0  # after which all workers have a model that one of them was told to activate


class Overload(NamedTuple):
    """What a server does under `_FACTOR` times its peak.

    Attributes:
        peak: The most that it could take.
        under: What it did with ten times as much.
    """

    peak: Summary
    under: Summary

    @property
    def kept(self) -> float:
        """Share of the peak's rankings that it still makes."""
        return self.under.ranked_per_second / self.peak.ranked_per_second


async def overload(scene: Scene, seconds: float = _SECONDS) -> Overload:
    """Find a server's peak, and offer ten times as much.

    The callers have a processor core of their own, so that what it costs to call is not taken from the server, and more
    connections than rankings can wait.
    """
    connections = Connections(scene.workers.url, _NUM_CONNECTIONS)
    loop = OpenLoop(connections, scene.bodies)
    with _apart(scene.workers):
        found = await _measured(loop, seconds)
    await connections.close()
    return found


async def _measured(loop: OpenLoop, seconds: float) -> Overload:
    peak = await find_peak(lambda per_second: loop.run(per_second, seconds), 25.0, 20_000.0)
    much = _FACTOR * peak.ranked_per_second
    await loop.run(much, _WARM_SECONDS)  # opens connections
    return Overload(peak, await loop.run(much, seconds))


@contextmanager
def _apart(workers: Workers) -> Iterator[None]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        for pid in workers.pids():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores[:-1])
        os.sched_setaffinity(0, cores[-1:])
    yield
    os.sched_setaffinity(0, cores)


class Swaps(NamedTuple):
    """What came of many new models.

    Attributes:
        activations: How often another version was made current.
        went_live: How often a worker took one over.
        tables_built: How often a worker built a table of items.
        seen: What callers saw.
        settled_megabytes: Private memory of all workers after the first swaps.
        megabytes: The same after all of them.
    """

    activations: int
    went_live: int
    tables_built: int
    seen: Seen
    settled_megabytes: float
    megabytes: float


async def swaps(scene: Scene, number: int) -> Swaps:
    """Make one version after the other current, change items meanwhile, and hold every answer against its version.

    Items that change are none that callers ask for, so that each version has one right answer to each request.
    """
    expected = await _expected(scene)
    watch = Watch(expected)
    versions = scene.shop.versions
    settled = 0.0
    begin = time.perf_counter()
    async with under_load(replace(scene, watch=watch)):
        for count in range(number):
            await asyncio.to_thread(scene.workers.activate, versions[count % 2])
            if count % _EVERY == 0:
                await _change_items(scene, count)
            if count == _SETTLED:
                settled = scene.workers.private_megabytes()
    seen = watch.since(begin)
    await asyncio.sleep(_TAKEOVER_SECONDS)
    lines = [line["message"] for line in scene.workers.lines()]
    live, built = lines.count("model is live"), lines.count("item table built")
    return Swaps(number, live, built, seen, settled, scene.workers.private_megabytes())


async def _expected(scene: Scene) -> dict[tuple[str, str], list[float]]:
    """Scores that each version gives to each request."""
    found: dict[tuple[str, str], list[float]] = {}
    for version in scene.shop.versions:
        await asyncio.to_thread(scene.workers.activate, version)
        await asyncio.sleep(_TAKEOVER_SECONDS)
        for body in scene.bodies:
            answer = orjson.loads((await scene.connections.post("/rank", body)).body)
            scores = [entry["score"] for entry in answer["ranking"]]
            found[answer["model_version"], answer["request_id"]] = scores
    return found


async def _change_items(scene: Scene, count: int) -> None:
    async with parse_store(scene.shop.store).build() as store:
        rows = [(f"new{number}", {"price": float(count + number)}, None) for number in range(_CHANGED_ITEMS)]
        await store.put_many("item", rows)
