"""A process that serves leaves what it has loaded to itself, and nobody who has connected without an answer."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from serving.app import create_app
from serving.server import Server, Stopping, bind
from tests.serving.conftest import World


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Where the server listens."""
    with bind("127.0.0.1", 0) as bound:
        yield bound


@asynccontextmanager
async def started(world: World, listener: socket.socket) -> AsyncIterator[Server]:
    """A server that accepts connections, in this process, which is as before afterwards."""
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    stopping = Stopping(delay_seconds=0, drain_seconds=30)
    server = Server(create_app(world.settings()), stopping, head_timeout_seconds=30)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    try:
        await server.startup([listener])
        yield server
        server.stop()
        await server.shutdown([listener])
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)


async def test_the_garbage_collector_leaves_alone_what_stays(world: World, listener: socket.socket) -> None:
    async with started(world, listener) as server:
        engine = server.config.app.state.server.models.live()  # type: ignore[union-attr]  # FastAPI's
        seen = {id(each) for each in gc.get_objects()}
        assert id(engine) not in seen
        assert id(asyncio.Task) not in seen
        assert gc.get_freeze_count() > len(seen)


async def test_the_garbage_collector_finds_what_requests_leave_behind(world: World, listener: socket.socket) -> None:
    async with started(world, listener):
        gc.collect()
        leftover: list[object] = []
        leftover.append(leftover)
        del leftover
        assert gc.collect() >= 1


def ask(address: tuple[str, int]) -> str:
    """What a new connection gets: a status, `refused`, or `reset`."""
    try:
        client = socket.create_connection(address, timeout=30)
    except ConnectionRefusedError:
        return "refused"
    with client:
        try:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
            return client.recv(64).decode().split()[1]
        except (ConnectionResetError, BrokenPipeError, IndexError):
            return "reset"


async def test_without_file_descriptors_callers_wait(
    world: World, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = socket.socket.accept
    failed: list[socket.socket] = []

    def short_of_descriptors(listening: socket.socket) -> tuple[socket.socket, Any]:
        if not failed:
            failed.append(listening)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", short_of_descriptors)
    async with started(world, listener):
        assert await asyncio.to_thread(ask, listener.getsockname()) == "200"
    assert failed


def test_who_waits_in_the_queue_is_answered(world: World, listener: socket.socket) -> None:
    answers: list[str] = []
    callers = [threading.Thread(target=lambda: answers.append(ask(listener.getsockname()))) for _ in range(8)]

    async def serve() -> None:
        async with started(world, listener):
            for each in callers:
                each.start()
            time.sleep(0.3)  # noqa: ASYNC251  # nobody accepts meanwhile

    uvloop.run(serve())  # as servers do: asyncio's own loop may forget who has connected when it stops to listen
    for each in callers:
        each.join()
    assert answers == ["200"] * 8
