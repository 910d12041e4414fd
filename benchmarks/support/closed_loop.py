"""A closed loop of HTTP clients in one process: each sends again, on the same connection, once it has its answer."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, cast

import numpy as np
import numpy.typing as npt
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_ANSWER_SECONDS = 60.0  # that the last answers may take


class Load(NamedTuple):
    """What came of one run.

    Attributes:
        seconds: Length of the window.
        latencies: Milliseconds of every answer that came within the window.
        client_cpu_ms: That the loop itself spent per answer.
        server_cpu_ms: That the server's processes spent per answer.
    """

    seconds: float
    latencies: npt.NDArray[np.float64]
    client_cpu_ms: float
    server_cpu_ms: float


def exchange(port: int, path: str, body: bytes) -> bytes:
    """Send one request and return the body of the answer.

    Raises:
        RuntimeError: The status is not 200.
        OSError: The server cannot be reached.
    """

    async def once() -> bytes:
        answers: list[bytes] = []
        client = _Client(port, iter([_request(path, body)]), lambda _, answer: answers.append(answer))
        await client.connect()
        async with asyncio.timeout(_ANSWER_SECONDS):
            await client.ended
        return answers[0]

    return uvloop.run(once())


def run(
    port: int,
    path: str,
    bodies: Sequence[bytes],
    connections: int,
    *,
    warm_seconds: float,
    seconds: float,
    server_cpu: Callable[[], float],
) -> Load:
    """Keep every connection busy, and measure in a window that begins once all are.

    Args:
        port: Of a server on this machine.
        path: To POST to.
        bodies: Taken in turn, over and over.
        connections: How many.
        warm_seconds: Before the window.
        seconds: Length of the window.
        server_cpu: Processor seconds that the server has spent so far.

    Raises:
        RuntimeError: An answer's status is not 200.
    """
    return uvloop.run(_run(port, path, bodies, connections, warm_seconds, seconds, server_cpu))


async def _run(
    port: int,
    path: str,
    bodies: Sequence[bytes],
    num_connections: int,
    warm_seconds: float,
    seconds: float,
    server_cpu: Callable[[], float],
) -> Load:
    answers: list[tuple[float, float]] = []
    requests = itertools.cycle([_request(path, body) for body in bodies])
    end = time.perf_counter() + warm_seconds + seconds
    sending = itertools.takewhile(lambda _: time.perf_counter() < end, requests)

    def note(sent: float, _: bytes) -> None:
        answers.append((sent, time.perf_counter()))

    clients = [_Client(port, sending, note) for _ in range(num_connections)]
    for client in clients:
        await client.connect()
    await asyncio.sleep(end - seconds - time.perf_counter())
    begun, spent, served = time.perf_counter(), time.process_time(), server_cpu()
    await asyncio.sleep(end - begun)
    over, spent, served = time.perf_counter(), time.process_time() - spent, server_cpu() - served
    async with asyncio.timeout(_ANSWER_SECONDS):
        await asyncio.gather(*(client.ended for client in clients))
    latencies = np.array([1000 * (done - sent) for sent, done in answers if begun <= done < over])
    if not len(latencies):
        raise RuntimeError(f"no answer within {seconds:g} s; measure longer")
    return Load(over - begun, latencies, 1000 * spent / len(latencies), 1000 * served / len(latencies))


class _Client:
    """Sends what `requests` gives next as soon as the answer before is whole; ends when it gives nothing.

    Args:
        port: Of the server.
        requests: Whole HTTP requests; shared with the other clients.
        note: Told when a request was sent, and the body of its answer.
    """

    def __init__(self, port: int, requests: Iterator[bytes], note: Callable[[float, bytes], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.note = note
        self._port = port
        self._requests = requests

    async def connect(self) -> None:
        """Begin, or go on where the server has let a connection go."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
        except OSError as exc:
            self.fail(exc)

    def request(self) -> bytes | None:
        """What is sent next; `None`: nothing, this client has ended."""
        request = next(self._requests, None)
        if request is None and not self.ended.done():
            self.ended.set_result(None)
        return request

    def fail(self, error: Exception) -> None:
        """End with an error, unless it has ended."""
        if not self.ended.done():
            self.ended.set_exception(error)


class _Connection(asyncio.Protocol):
    """One connection of a client, for as long as the server keeps it."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._answer = bytearray()
        self._sent = 0.0
        self._next: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Go on if that is the end of an answer."""
        self._answer += data
        body = _whole_body(self._answer)
        if body is None:
            return
        if not self._answer.startswith(b"HTTP/1.1 200"):
            said = bytes(self._answer[:1000]).decode(errors="replace")
            self._client.fail(RuntimeError(f"the server answered {said}"))
            self._transport.close()
            return
        self._client.note(self._sent, body)
        if _CLOSES.search(self._answer, 0, self._answer.index(b"\r\n\r\n")):
            self._next = asyncio.ensure_future(self._client.connect())
            self._transport.close()
            return
        self._answer.clear()
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed it, or this side did at the end."""
        if self._next is None:
            self._client.fail(exc or ConnectionResetError("the server closed a connection that was to be kept"))

    def _send(self) -> None:
        request = self._client.request()
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _whole_body(answer: bytearray) -> bytes | None:
    """The body of an answer; None while some of it is missing. An answer says its length, or comes in chunks."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(answer, 0, end + 2)
    body = answer[end + 4 :]
    if length is None:
        return _joined(body) if body.endswith(b"0\r\n\r\n") else None
    return bytes(body) if len(body) >= int(length[1]) else None


def _joined(chunks: bytearray) -> bytes:
    """The content of chunks, each behind its length in hexadecimal digits; RFC 9112, section 7.1."""
    body, place = bytearray(), 0
    while size := int(chunks[place : (begin := chunks.index(b"\r\n", place))], 16):
        body += chunks[begin + 2 : begin + 2 + size]
        place = begin + 2 + size + 2
    return bytes(body)
