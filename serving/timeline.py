"""When the steps of one request began and how long they took: what metrics count and traces show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple


class Step(NamedTuple):
    """One step; `start` is of the performance counter, both in seconds."""

    name: str
    start: float
    seconds: float


class Timeline:
    """The steps of one request, in the order in which they ended. One thread at a time adds to it.

    Attributes:
        begin: When the request came in, of the performance counter.
        steps: So far.
    """

    __slots__ = ("begin", "steps")

    def __init__(self) -> None:
        self.begin = perf_counter()
        self.steps: list[Step] = []

    def age_ns(self) -> int:
        """Nanoseconds since the request began."""
        return int((perf_counter() - self.begin) * 1e9)

    def add(self, name: str, start: float, seconds: float) -> None:
        """Note a step that was timed elsewhere."""
        self.steps.append(Step(name, start, seconds))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens in the block; what fails counts too."""
        start = perf_counter()
        try:
            yield
        finally:
            self.add(name, start, perf_counter() - start)
