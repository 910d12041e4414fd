"""Which rows each process reads at which step of an epoch, decided by sizes and a seed before anything is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_GROUPS, _ROWS = 0, 1  # random streams of one epoch


class Piece(NamedTuple):
    """Some of the rows of one row group: from `first` to before `stop`, counted among those of the split."""

    group: int
    first: int
    stop: int


class Pool(NamedTuple):
    """Rows that are shuffled together, and the steps that they are for.

    Attributes:
        number: From 0.
        steps: First step and the one behind the last.
        rows: First row of the share and the one behind the last.
    """

    number: int
    steps: range
    rows: range


class EpochOrder:
    """The share of one process in an epoch.

    Row groups are put in random order and their rows dealt to the processes in intervals, so that a row group at a
    border is read by both. Each interval is cut into pools of whole steps, which are shuffled row by row. Every
    process takes the same number of steps, and no row is lost or dealt twice; shares differ by at most one row.

    Args:
        counts_G: Rows of the split in each row group.
        batch_size: Rows per step and process; the last step takes what is left.
        shuffle_rows: Rows of a pool: as many whole steps as fit, at least one.
        seed: Decides every order; the same on all processes.
        rank: Of this process.
        world: Number of processes.
    """

    def __init__(
        self, counts_G: Ints, *, batch_size: int, shuffle_rows: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:
        self._seed, self._rank = seed, rank
        self._groups = self._random(_GROUPS).permutation(len(counts_G))
        self._ends = np.cumsum(counts_G[self._groups])
        total = int(counts_G.sum())
        self._first = total * rank // world
        self.num_rows = total * (rank + 1) // world - self._first
        largest = -(-total // world)
        self.num_steps = -(-largest // batch_size)
        self._batch_size = batch_size
        self._steps_per_pool = max(1, shuffle_rows // batch_size)

    def bound(self, step: int) -> int:
        """First row of a step in the share.

        A share that is a row short of the largest leaves no step empty if it can: the last full one gives a row up.
        """
        return max(0, min(step * self._batch_size, self.num_rows - (self.num_steps - step)))

    def pools(self, start: int = 0) -> Iterator[Pool]:
        """The pools that steps from `start` on are taken from."""
        size = self._steps_per_pool
        for number in range(start // size, -(-self.num_steps // size)):
            steps = range(number * size, min((number + 1) * size, self.num_steps))
            yield Pool(number, steps, range(self._start(steps.start), self._start(steps.stop)))

    def shuffled(self, pool: Pool) -> Ints:
        """The pool's rows in the order in which its steps take them, counted from its first."""
        return self._random(_ROWS, self._rank, pool.number).permutation(len(pool.rows))

    def rows_of(self, pool: Pool, step: int) -> slice:
        """Which of the shuffled rows a step takes."""
        return slice(self._start(step) - pool.rows.start, self._start(step + 1) - pool.rows.start)

    def pieces(self, first_row: int = 0) -> Iterator[Piece]:
        """The share's rows from `first_row` on, group by group; groups that lie before it are left out."""
        position, stop = self._first + first_row, self._first + self.num_rows
        for place in range(int(np.searchsorted(self._ends, position, side="right")), len(self._ends)):
            if position >= stop:
                return
            group, end = int(self._groups[place]), int(self._ends[place])
            begin = int(self._ends[place - 1]) if place else 0
            if end > position:
                yield Piece(group, position - begin, min(end, stop) - begin)
                position = end

    def _start(self, step: int) -> int:
        return self.num_rows if step == self.num_steps else self.bound(step)

    def _random(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=stream))
