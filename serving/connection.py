"""One connection of a client: what is to be refused is refused before anything is made of it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.admission import Door
from serving.errors import ServingError, TooLarge, TooSlow, problem_bytes
from serving.joined_writes import JoinedWrites

_MAX_HEAD_BYTES = 64 * 2**10
_LINGER_SECONDS = 0.5


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, which would wait for the end of a request's head for ever.

    The clock runs from the connection's beginning, later from the first byte of a request, until its headers are
    there; single bytes sent now and then do not stop it. Bodies are watched by `BodyLimit`.

    Args:
        head_timeout_seconds: How long a head may take.
        door: Asked about each request before anything is made of it.
    """

    def __init__(
        self,
        *arguments: Any,
        head_timeout_seconds: float,
        door: Door,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._head_timeout_seconds = head_timeout_seconds
        self._door = door
        self._refused = False  # the request whose body comes in now
        self._head_bytes = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, JoinedWrites(transport, self.loop))  # which is all that uvicorn uses
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._unwatch()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close when what is under way is answered; an idle connection in a moment: its next request may be on its way.

        One that comes in that moment is answered, and closes the connection.
        """
        if self._answering():
            super().shutdown()
        else:
            self.loop.call_later(_LINGER_SECONDS, super().shutdown)

    def data_received(self, data: bytes) -> None:
        """Parse what came; then see whether a head has begun or ended. One that came at once costs no timer."""
        super().data_received(data)
        if not self._in_head:
            self._unwatch()
            return
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(TooLarge(f"the head of a request must have at most {_MAX_HEAD_BYTES} bytes; send less"))
        elif self._timer is None:
            self._watch()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Its headers are there: make a request of it, or refuse it."""
        self._in_head = False
        decided = None if self._answering() else self._door.decide(self.url.decode("latin-1"), self.headers)
        self._refused = isinstance(decided, bytes)
        if isinstance(decided, bytes):
            self.transport.write(decided)
            return
        if decided is not None:
            self.scope["state"]["deadline"] = decided
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Part of its body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """It is whole."""
        if not self._refused:
            super().on_message_complete()
        elif self.parser.should_keep_alive():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self.transport.close()

    def _watch(self) -> None:
        self._timer = self.loop.call_later(self._head_timeout_seconds, self._give_up)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        self._refuse(
            TooSlow(f"the head of a request must arrive within {self._head_timeout_seconds:g} s; check the connection")
        )

    def _refuse(self, error: ServingError) -> None:
        self._unwatch()
        if self._head_bytes and not self._answering():  # who has sent nothing expects nothing
            self.transport.write(problem_bytes(error))
        self.transport.close()

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn does not tell its type that there may be none yet
        return cycle is not None and not cycle.response_complete
