"""Bodies are read whole, up to a size and within a time, before any route runs: what exceeds them gets no further."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ServingError, TooLarge, TooSlow, problem_response

_LINGER_SECONDS = 1.0


class BodyLimit:
    """ASGI middleware that answers 413 to a larger body, announced or not, and 408 to one that does not arrive.

    Either answer closes the connection, so that nobody has to read what is left of the body. What still comes in the
    next moment is read and thrown away: a connection that is closed under a caller who is sending takes the answer
    with it.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(scope, receive)
        except ServingError as exc:
            await _refuse(exc, receive, send)
            return
        if body is None:
            return  # nobody is left to answer
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self._app(scope, replay, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; `None` if the caller has gone."""
        announced = Headers(scope=scope).get("content-length", "")
        self._check_size(int(announced) if announced.isdecimal() else 0)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._received(receive)
        except TimeoutError as exc:
            raise TooSlow(
                f"the body must arrive within {self._timeout_seconds:g} s; send less, or check the connection"
            ) from exc

    async def _received(self, receive: Receive) -> bytes | None:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            self._check_size(len(body))
        return bytes(body)

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > self._max_bytes:
            raise TooLarge(
                f"the body must have at most {self._max_bytes} bytes; send less, split it, "
                "or raise RANKER_LIMITS__MAX_BODY_BYTES"
            )


async def _refuse(error: ServingError, receive: Receive, send: Send) -> None:
    """Answer, and close the connection when the caller has stopped sending, or after a moment."""
    response = problem_response(error)
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
