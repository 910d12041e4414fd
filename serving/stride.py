"""How the event loop gets on with rankings: one at a time, and between two of them it sees to its connections."""

from __future__ import annotations

import asyncio
from collections import deque


class Stride:
    """Lets one of those who wait go on in each round of the event loop, first come, first served.

    What is made of a request takes the loop ten times as long as to refuse one. If all that came in a round went on in
    the next, those to be refused would wait for all of them, and under overload ever longer.
    """

    def __init__(self) -> None:
        self._taken = False  # this round
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def turn(self) -> None:
        """Go on in this round of the loop if nobody has yet, else in one of one's own."""
        loop = asyncio.get_running_loop()
        if self._taken:
            own = loop.create_future()
            self._waiting.append(own)
            await own
        else:
            self._taken = True
            loop.call_soon(self._next, loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            own = self._waiting.popleft()
            if not own.done():  # else it was cancelled while it waited
                own.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._taken = False
