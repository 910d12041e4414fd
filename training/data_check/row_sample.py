"""A uniform random sample of a stream of rows, in bounded memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


class RowSample:
    """Keeps the rows with the smallest of random priorities: every set of `size` rows is equally likely.

    Which rows those are depends on the seed and on the order of the rows, not on how they were cut into batches. Twice
    `size` rows and one batch are held at most.

    Args:
        size: Rows wanted; all are kept where there are fewer.
        seed: Of the priorities.
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._random = np.random.default_rng(seed)
        self._tables: list[pa.Table] = []
        self._priorities = np.empty(0)
        self._below = np.inf  # no row of a higher priority can be among the smallest any more

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in one batch; all have the same columns."""
        priorities = self._random.random(batch.num_rows)
        chosen = np.flatnonzero(priorities < self._below)
        if not len(chosen):
            return
        self._tables.append(pa.Table.from_batches([batch]).take(pa.array(chosen)))
        self._priorities = np.concatenate([self._priorities, priorities[chosen]])
        if len(self._priorities) >= 2 * self._size:
            self._shrink()

    def table(self) -> pa.Table | None:
        """The sample in the order of the stream; None where the stream had no rows."""
        if len(self._priorities) > self._size:
            self._shrink()
        return self._whole() if self._tables else None

    def _shrink(self) -> None:
        kept = np.sort(np.argpartition(self._priorities, self._size - 1)[: self._size])
        self._tables = [self._whole().take(pa.array(kept))]
        self._priorities = self._priorities[kept]
        self._below = float(self._priorities.max())

    def _whole(self) -> pa.Table:
        return pa.concat_tables(self._tables).unify_dictionaries().combine_chunks()
