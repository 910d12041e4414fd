"""A server under a steady load, and what its callers see of a fault."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import orjson

from benchmarks.support.redis_process import RedisProcess
from benchmarks.support.shop import Shop
from benchmarks.support.watch import Seen, Watch
from benchmarks.support.workers import Workers, serving
from serving.bench import Connections, OpenLoop

PER_SECOND = 40.0
_CALM_SECONDS = 2.0  # before a fault
_LONG_SECONDS = 3_600.0
_NUM_BODIES = 200


@dataclass(frozen=True, slots=True)
class Scene:
    """What a fault can get at.

    Attributes:
        shop: A copy of its own, to be broken.
        workers: The server.
        redis: Its feature store; stopped, and unused, where the server reads embedded files.
        connections: Of the callers.
        bodies: What they ask.
        watch: What they saw.
    """

    shop: Shop
    workers: Workers
    redis: RedisProcess
    connections: Connections
    bodies: list[bytes]
    watch: Watch


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that can happen to a server.

    Attributes:
        name: For the table.
        happen: Lets it happen and be mended; what else there is to say of it.
        redis: Whether features are in Redis.
        num_workers: Of the server.
        environment: Settings of the server, given the folder where it runs.
        settle_seconds: How long to watch after it was mended.
        clean_up: Takes back what `environment` has made, given the same folder.
        obstacle: Why it cannot be tried on this machine; `None` if it can.
    """

    name: str
    happen: Callable[[Scene], Awaitable[str]]
    redis: bool = False
    num_workers: int = 2
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda _: {})
    settle_seconds: float = 3.0
    clean_up: Callable[[Path], None] = field(default=lambda _: None)
    obstacle: Callable[[], str | None] = field(default=lambda: None)


class Witnessed(NamedTuple):
    """A fault, what was seen, and what else there is to say."""

    fault: str
    seen: Seen
    note: str


async def witness(fault: Fault, shop: Shop, folder: Path) -> Witnessed:
    """Let one fault happen to a server that is started for it, in a copy of the shop.

    Args:
        fault: What happens.
        shop: Whose copy is served.
        folder: Where all of it is done; made, and removed afterwards.
    """
    try:
        async with staged(fault, shop, folder) as scene:
            async with under_load(scene):
                await asyncio.sleep(_CALM_SECONDS)
                moment = time.perf_counter()
                note = await fault.happen(scene)
                await asyncio.sleep(fault.settle_seconds)
            return Witnessed(fault.name, scene.watch.since(moment), note)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def under_load(scene: Scene, per_second: float = PER_SECOND) -> AsyncIterator[None]:
    """A load that lasts as long as the block."""
    loop = OpenLoop(scene.connections, scene.bodies, observe=scene.watch)
    load = asyncio.create_task(loop.run(per_second, _LONG_SECONDS))
    try:
        yield
    finally:
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)


@asynccontextmanager
async def staged(fault: Fault, original: Shop, folder: Path) -> AsyncIterator[Scene]:
    """Everything that a fault needs, started; nothing has happened yet. See `witness`."""
    shutil.rmtree(folder, ignore_errors=True)
    await asyncio.to_thread(shutil.copytree, original.folder, folder / "shop", ignore=shutil.ignore_patterns("run*"))
    shop = Shop(folder / "shop")
    redis = RedisProcess(folder / "redis")
    store = shop.store
    if fault.redis:
        await asyncio.to_thread(redis.start)
        store = redis.store
        await asyncio.to_thread(shop.fill, store)
    environment = fault.environment(folder)
    try:
        with serving(shop.folder / "registry", store, folder / "server", fault.num_workers, environment) as workers:
            connections = Connections(workers.url, 256, timeout_seconds=10.0)
            yield Scene(shop, workers, redis, connections, _numbered(shop.workload().bodies(_NUM_BODIES)), Watch())
            await connections.close()
    finally:
        await asyncio.to_thread(redis.stop)
        fault.clean_up(folder)


def _numbered(bodies: list[bytes]) -> list[bytes]:
    """The same with ids, by which their answers are known again."""
    return [orjson.dumps(orjson.loads(body) | {"request_id": f"r{number}"}) for number, body in enumerate(bodies)]
