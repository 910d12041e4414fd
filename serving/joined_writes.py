"""Head and body of an answer, which uvicorn writes one after the other, as one write."""

from __future__ import annotations

import asyncio


class JoinedWrites:
    """The side of a transport that answers are written to.

    uvloop sends a first write at once. An answer's head would be a packet of its own, and a caller woken for it:
    a twentieth of what Python does for a ranking. So a write waits for a second one, until the loop comes round.

    Args:
        transport: What is written goes there.
        loop: The transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting = b""

    def write(self, data: bytes) -> None:
        """Write some bytes: now, together with what waits, or in the next round of the loop."""
        if self._waiting:
            self._transport.write(self._waiting + data)
            self._waiting = b""
        else:
            self._waiting = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Write what waits, and close."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the transport closes."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if self._waiting and not self.is_closing():  # else nobody is there any more
            self._transport.write(self._waiting)
        self._waiting = b""
