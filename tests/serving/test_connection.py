"""Connections that send a request slowly, or without end, are closed; a real server on a real socket."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from serving.admission import Door
from serving.app import create_app
from serving.errors import Overloaded, problem_bytes
from serving.server import Server, Stopping, bind
from tests.serving.conftest import World

HEAD = b"POST /rank HTTP/1.1\r\nHost: here\r\n"
PING = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"


@asynccontextmanager
async def listening(world: World, head_timeout_seconds: float) -> AsyncIterator[int]:
    """Port of a server in this process."""
    listener = bind("127.0.0.1", 0)
    app = create_app(world.settings(limits={"body_timeout_seconds": 0.1, "max_body_bytes": 2048}))
    server = Server(app, Stopping(0.0, 30), head_timeout_seconds)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.stop()
        await serving


async def said(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """Everything that a server says to these parts until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = bytearray()

    async def listen() -> None:
        with suppress(ConnectionError):
            while heard := await reader.read(65_536):
                answer.extend(heard)

    listening = asyncio.create_task(listen())
    with suppress(ConnectionError):  # closed while parts were left to send
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
    await listening
    writer.close()
    return bytes(answer)


async def test_a_head_that_does_not_end_answers_408(world: World) -> None:
    async with listening(world, 0.1) as port:
        for parts in ([HEAD], [PING, HEAD], [bytes([byte]) for byte in HEAD * 2]):
            answer = await said(port, *parts, pause=0.02)
            assert answer.count(b"HTTP/1.1 408") == 1
            assert b"application/problem+json" in answer
            assert b"connection: close" in answer.lower()


async def test_a_connection_that_says_nothing_is_closed(world: World) -> None:
    async with listening(world, 0.05) as port:
        assert await said(port) == b""


async def test_a_head_without_end_is_refused(world: World) -> None:
    async with listening(world, 60) as port:
        answer = await said(port, HEAD + b"X-Much: " + b"a" * 100_000)
        assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("framing", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"])
async def test_a_body_that_does_not_arrive_answers_408(world: World, framing: bytes) -> None:
    async with listening(world, 60) as port:
        answer = await said(port, HEAD + framing + b"{")
        assert answer.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"]
)
async def test_a_huge_body_is_refused_and_its_connection_closed(world: World, framing: bytes) -> None:
    async with listening(world, 60) as port:
        answer = await said(port, HEAD + framing, b"a" * 65_536)
        assert answer.startswith(b"HTTP/1.1 413")


async def test_a_connection_that_is_used_stays_open(world: World) -> None:
    async with listening(world, 0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        begin = time.monotonic()
        while time.monotonic() < begin + 0.5:
            writer.write(PING)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.05)
        writer.close()


async def test_what_is_refused_leaves_its_connection_fit_for_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = itertools.cycle([problem_bytes(Overloaded("no place", 3)), None, None])
    monkeypatch.setattr(Door, "decide", lambda *_: next(turns))
    body = json.dumps({"candidates": ["i1", "i2"]}).encode()
    request = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    async with listening(world, 60) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        statuses: list[bytes] = []
        for pieces in ([request], [request], [request[:40], request[40:-3], request[-3:]]) * 3:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0.01)
            head = await reader.readuntil(b"\r\n\r\n")
            statuses.append(head.split()[1])
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()
    assert statuses == [b"503", b"200", b"200"] * 3


async def test_a_refused_request_may_be_the_last_of_its_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Door, "decide", lambda *_: problem_bytes(Overloaded("no place", 3)))
    async with listening(world, 60) as port:
        answer = await said(port, HEAD + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc")
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 3" in answer or b"retry-after: 3" in answer
