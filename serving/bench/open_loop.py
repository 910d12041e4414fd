"""Requests at a rate that does not depend on the answers, as callers who know nothing of each other send them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from serving.bench.connections import Connections, Reply
from serving.bench.outcomes import Outcomes, Summary

Arrivals = Literal["poisson", "constant"]


class OpenLoop:
    """Sends requests when they are due, whatever became of those before.

    A loop that waits for answers asks less of a server that is slow, and so never sees how long others wait. Here each
    time begins when the request was to be sent, also if all connections were taken then.

    Args:
        connections: To the server.
        bodies: Taken in turn, over and over.
        arrivals: `poisson`: at random, at the given rate; `constant`: evenly.
        path: Where to.
        observe: Told of every reply, when it comes.
    """

    def __init__(
        self,
        connections: Connections,
        bodies: Sequence[bytes],
        arrivals: Arrivals = "poisson",
        path: str = "/rank",
        observe: Callable[[Reply], None] | None = None,
    ) -> None:
        self._connections = connections
        self._bodies = itertools.cycle(bodies)
        self._arrivals = arrivals
        self._path = path
        self._observe = observe

    async def run(self, per_second: float, seconds: float, seed: int = 0) -> Summary:
        """Send for some time, wait for all answers, and sum up."""
        outcomes = Outcomes()
        begin, spent = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as requests:
            for due in begin + self._moments(per_second, seconds, seed):
                if (early := due - time.perf_counter()) > 0:
                    await asyncio.sleep(early)
                requests.create_task(self._send(float(due), outcomes))
            busy = (time.process_time() - spent) / (time.perf_counter() - begin)
        return outcomes.summary(seconds, max(seconds, time.perf_counter() - begin), busy)

    async def _send(self, due: float, outcomes: Outcomes) -> None:
        reply = await self._connections.post(self._path, next(self._bodies))
        outcomes.add(reply, time.perf_counter() - due)
        if self._observe is not None:
            self._observe(reply)

    def _moments(self, per_second: float, seconds: float, seed: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Seconds after the beginning at which requests are due."""
        if self._arrivals == "constant":
            return np.arange(0.0, seconds, 1 / per_second)
        random = np.random.default_rng(seed)
        count = random.poisson(per_second * seconds)
        return np.sort(random.uniform(0.0, seconds, count))
