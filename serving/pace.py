"""Long work in short steps, with rests between them that belong to requests."""

from __future__ import annotations

import time
from collections.abc import Callable

_SHARE = 0.25
_LONGEST_REST_SECONDS = 0.1

Rest = Callable[[], None]


class Pace:
    """How fast work goes that could wait, in a process that answers requests.

    A thread that only computes takes half of a core from the one that ranks, and lets nothing else have the
    interpreter for long. One that rests after each step takes a fixed share, and less where the core is fought for:
    a step that had to wait is a longer one, and so is the rest after it.

    Args:
        share: Of the time that goes by, what the work takes at most; in (0, 1].
    """

    def __init__(self, share: float = _SHARE) -> None:
        self._rest_per_step = 1 / share - 1
        self._since = time.perf_counter()

    def rest(self) -> None:
        """Between two steps: do nothing, in proportion to what the last one took, but never for long."""
        step = time.perf_counter() - self._since
        time.sleep(min(step * self._rest_per_step, _LONGEST_REST_SECONDS))
        self._since = time.perf_counter()


def no_rest() -> None:
    """The rest of work that nobody is kept waiting by."""
