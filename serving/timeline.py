"""When the steps of one request began and how long they took: what metrics count and traces show."""

from __future__ import annotations

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

    def step(self, name: str) -> _Timed:
        """Time what happens in a block; what fails counts too."""
        return _Timed(self, name)


class _Timed:
    """The block of a step. A generator would take twice as long, several times a request."""

    __slots__ = ("_name", "_start", "_timeline")

    def __init__(self, timeline: Timeline, name: str) -> None:
        self._timeline = timeline
        self._name = name

    def __enter__(self) -> None:
        self._start = perf_counter()

    def __exit__(self, *_: object) -> None:
        self._timeline.add(self._name, self._start, perf_counter() - self._start)
