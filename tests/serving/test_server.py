"""A process that serves leaves what it has loaded to itself."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from serving.app import create_app
from serving.server import Server, Stopping, bind
from tests.serving.conftest import World


@pytest.fixture
async def started(world: World) -> AsyncIterator[Server]:
    """A server that accepts connections, in this process, whose garbage collector is as before afterwards."""
    threshold = gc.get_threshold()
    listener = bind("127.0.0.1", 0)
    server = Server(create_app(world.settings()), Stopping(delay_seconds=0, drain_seconds=1), head_timeout_seconds=1)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    try:
        await server.startup([listener])
        yield server
        server.should_exit = True
        await server.shutdown([listener])
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)
        listener.close()


async def test_the_garbage_collector_leaves_alone_what_stays(started: Server) -> None:
    engine = started.config.app.state.server.models.live()  # type: ignore[union-attr]  # FastAPI's
    seen = {id(each) for each in gc.get_objects()}
    assert id(engine) not in seen
    assert id(asyncio.Task) not in seen
    assert gc.get_freeze_count() > len(seen)


async def test_the_garbage_collector_still_finds_what_requests_leave_behind(started: Server) -> None:
    assert started.started
    gc.collect()
    leftover: list[object] = []
    leftover.append(leftover)
    del leftover
    assert gc.collect() >= 1
