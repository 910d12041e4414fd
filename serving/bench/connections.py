"""HTTP/1.1 connections to one server, kept open and used again: as little work per request as Python allows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

import httptools

NO_ANSWER = 0  # the status of a request that got none


class Reply(NamedTuple):
    """What came back: a status and a body, or no status and why."""

    status: int
    body: bytes


class Connections:
    """Sends requests over connections that others are done with, or over new ones, up to a number.

    Args:
        url: Of the server, like `http://127.0.0.1:8000`.
        most: Connections at a time; requests beyond wait for one.
        timeout_seconds: How long an answer may take.
        headers: Sent with every request.

    Raises:
        ValueError: The URL is none of http.
    """

    def __init__(
        self, url: str, most: int, timeout_seconds: float = 10.0, headers: Mapping[str, str] | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"`url` must look like http://HOST:PORT, got {url!r}")
        self._host, self._port = parts.hostname, parts.port or 80
        self._most = most
        self._timeout_seconds = timeout_seconds
        lines = {"Host": parts.netloc, "Content-Type": "application/json", **(headers or {})}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._idle: deque[_Connection] = deque()
        self._free = asyncio.Semaphore(most)

    async def post(self, path: str, body: bytes) -> Reply:
        """Send one request; never raises: what goes wrong is in the reply."""
        async with self._free:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    connection = self._take() or await self._open()
                    reply = await connection.send(self._request(path, body))
            except TimeoutError:
                return Reply(NO_ANSWER, b"timeout")
            except OSError as exc:
                return Reply(NO_ANSWER, type(exc).__name__.encode())
            if connection.usable:
                self._idle.append(connection)
            return reply

    async def close(self) -> None:
        """Close all that is idle, and wait until it is."""
        idle = [self._idle.pop() for _ in range(len(self._idle))]
        for connection in idle:
            connection.close()
        for connection in idle:
            await connection.lost.wait()

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _open(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return connection

    def _request(self, path: str, body: bytes) -> bytes:
        return f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.usable = True
        self.lost = asyncio.Event()
        self._answer: asyncio.Future[Reply] | None = None
        self._body: list[bytes] = []

    async def send(self, request: bytes) -> Reply:
        """Send a request and wait for its answer.

        Raises:
            ConnectionError: The server closed the connection before the answer was whole.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._body = []
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)
        try:
            return await self._answer
        except asyncio.CancelledError:  # an answer that comes now would be taken for the next one's
            self.close()
            raise

    def close(self) -> None:
        """Not to be used any more."""
        self.usable = False
        self._transport.close()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It is open."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._lose(ConnectionError(str(exc)))

    def on_body(self, body: bytes) -> None:
        """Part of its body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Reply(self._parser.get_status_code(), b"".join(self._body)))

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed it, or this side did."""
        self.lost.set()
        self._lose(exc or ConnectionResetError("closed by the server"))

    def _lose(self, error: Exception) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
