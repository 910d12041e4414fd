"""Between two steps: is a checkpoint due, has the run been asked to stop? All processes get the same answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto

import torch
import torch.distributed as dist

from training.distributed import total

_EXCHANGE_STEPS = 16  # processes compare notes this often; alone, a process looks after every step


class Due(Enum):
    """What to do at a safe point."""

    NOTHING = auto()
    CHECKPOINT = auto()
    STOP = auto()


class SafePoints:
    """Counts time since the last checkpoint, on a clock that nobody can set.

    Args:
        every_seconds: Time between two checkpoints.
        stop: Whether the run has been asked to stop.
        clock: In seconds, never backwards.
    """

    def __init__(
        self,
        every_seconds: float,
        stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.every_seconds, self._stop, self._clock = every_seconds, stop, clock
        self._last = clock()

    def look(self, step: int) -> Due:
        """What is due after that step. Every process must ask after every step."""
        if dist.get_world_size() > 1:
            if step % _EXCHANGE_STEPS:
                return Due.NOTHING
            first = dist.get_rank() == 0  # one clock decides; anyone may be asked to stop
            asked = torch.tensor([int(self._stop()), int(first and self._over())])
            stop, over = (bool(count) for count in total(asked).tolist())
        else:
            stop, over = self._stop(), self._over()
        if stop:
            return Due.STOP
        return Due.CHECKPOINT if over else Due.NOTHING

    def saved(self) -> None:
        """A checkpoint was written just now."""
        self._last = self._clock()

    def _over(self) -> bool:
        return self._clock() - self._last >= self.every_seconds
