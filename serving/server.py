"""A process that serves: a listening socket, uvicorn on it, and an end that loses no accepted request."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import uvicorn
from fastapi import FastAPI

from serving.connection import Connection

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_BACKLOG = 2048
_RELIEF_SECONDS = 0.5
_YOUNG_OBJECTS = 10_000  # a few requests with features in the body; Python's 700 would be several times in each
_TURN_SECONDS = 1e-4
_KEEP_ALIVE_SECONDS = 75  # longer than load balancers keep theirs, so that they close first and never meet a closed one


@dataclass(frozen=True, slots=True)
class Stopping:
    """How a server ends.

    Attributes:
        delay_seconds: How long it goes on accepting after it was told to stop, for load balancers to notice.
        drain_seconds: How long it then waits for the requests that it has accepted.
    """

    delay_seconds: float
    drain_seconds: int


class Server(uvicorn.Server):
    """uvicorn, told to stop by SIGTERM or SIGINT, or by the end of its supervisor.

    It ends in steps. At once it is not ready any more, and every answer closes its connection, so that callers go
    elsewhere. After a delay it accepts what has connected, and nothing more; what is idle is closed, what is accepted
    is answered. Then it exits with code 0. A second signal ends it at once, but for a worker: its supervisor decides.

    Args:
        app: What it serves.
        stopping: How it ends.
        head_timeout_seconds: How long the head of a request may take.
        lifeline: File descriptor that can be read from when the supervisor has gone; `None`: there is none.
    """

    def __init__(
        self, app: FastAPI, stopping: Stopping, head_timeout_seconds: float, lifeline: int | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=partial(  # type: ignore[arg-type]
                    Connection, head_timeout_seconds=head_timeout_seconds, door=app.state.door
                ),
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=stopping.drain_seconds,
                backlog=_BACKLOG,
            )
        )
        self._drain = app.state.drain
        self._delay_seconds = stopping.delay_seconds
        self._lifeline = lifeline
        self._forced = asyncio.Event()
        self._opening: set[asyncio.Task[object]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop when told to while the block lasts. uvicorn's own would end the process by the signal it has caught."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._signalled)
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._orphaned)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Begin to end."""
        self.should_exit = True
        self._drain.begin()

    def _signalled(self) -> None:
        # A worker may be told twice at once, by its supervisor and by who signals all processes: that is no hurry.
        if self.should_exit and self._lifeline is None:
            self.force_exit = True
            self._forced.set()
        self.stop()

    def _orphaned(self) -> None:
        assert self._lifeline is not None
        asyncio.get_running_loop().remove_reader(self._lifeline)
        logger.error("the supervisor has gone; this worker ends too")
        self.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept, and tell where."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self.should_exit = True
            return
        for listener in sockets or ():
            listener.listen(_BACKLOG)
            listener.setblocking(False)
            self._accept_from(listener)
        self.servers = []  # uvicorn's own, which would accept all who wait at once
        self.started = True
        _settle()
        _take_turns()
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            logger.info("listening", extra={"url": f"http://{f'[{host}]' if ':' in host else host}:{port}"})

    def _accept_from(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listener, self._accept_next, listener)

    def _accept_next(self, listener: socket.socket) -> None:
        """Accept one connection in this round of the loop.

        Workers share the socket, and connections stay. One that took all who wait would have them for good; so the
        workers that get round faster, for they have less to do, have more of them.
        """
        try:
            self._accept(listener)
        except (BlockingIOError, ConnectionError):  # another worker was faster; or who waited has gone
            pass
        except OSError as exc:  # no file descriptor is left: the caller waits until one is
            logger.error("cannot accept connections for a moment", extra={"reason": str(exc)})
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_RELIEF_SECONDS, self._accept_again, listener)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:  # else the server has stopped meanwhile
            self._accept_from(listener)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        loop = asyncio.get_running_loop()
        opening = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, as the class says."""
        logger.info("stopping", extra={"delay_seconds": self._delay_seconds})
        await self._pause(self._delay_seconds)
        await self._stop_accepting(sockets or ())
        await super().shutdown()

    async def _stop_accepting(self, listeners: Sequence[socket.socket]) -> None:
        """Accept everyone who has connected, and nobody after them.

        A connection that waits in the queue of a socket is reset when that is closed, so the last ones are accepted
        right before.
        """
        for listener in listeners:
            asyncio.get_running_loop().remove_reader(listener)
            with suppress(OSError):  # nobody waits any more
                for _ in range(_BACKLOG):
                    with suppress(ConnectionError):  # who waited has gone
                        self._accept(listener)
            listener.close()
        if self._opening:
            await asyncio.wait(self._opening)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]  # uvicorn's type tells no arguments
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._forced.wait(), seconds)


def _settle() -> None:
    """Let the garbage collector leave alone what is there now, and stays: libraries, the model.

    It would go through all of it, a few hundred thousand objects, whenever what some hundred requests hold has lived
    for a moment: a fifth of a second during which nothing is answered. What requests leave behind it looks at in larger
    portions: hardly any of it is garbage that only the collector can find.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _take_turns() -> None:
    """Let the scoring thread have Python's interpreter soon when it asks.

    It needs it for moments, between long stretches of work outside, and would wait for milliseconds each time.
    """
    sys.setswitchinterval(_TURN_SECONDS)


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket at an address, not listening yet.

    Raises:
        OSError: The address cannot be had.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
