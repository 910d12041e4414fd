"""The rows of an epoch, encoded pool by pool in a background thread and cut into steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from ranker.encoding import Encoder
from ranker.errors import DataError
from training.ahead import Ahead
from training.batches import EncodedRows
from training.order import EpochOrder, Pool

# From a row group to its rows of the split, in file order.
ReadGroup = Callable[[int], Iterator[pa.RecordBatch]]


class EpochReader:
    """Reads the share of one process in one epoch.

    Args:
        order: Which rows each step takes.
        read: Reads a row group.
        encoder: Encodes what was read.
        no_rows: The columns without rows.
        file_of: What messages call the file of a row group.
    """

    def __init__(
        self, order: EpochOrder, read: ReadGroup, encoder: Encoder, no_rows: pa.Table, file_of: Callable[[int], str]
    ) -> None:
        self._order, self._read, self._encoder = order, read, encoder
        self._no_rows, self._file_of = no_rows, file_of

    def steps(self, start: int = 0) -> Iterator[EncodedRows]:
        """The rows of each step from `start` on.

        Raises:
            DataError: A file is gone, damaged, or holds fewer rows than were counted.
        """
        order = self._order
        with Ahead(self._pools(start), depth=1) as pools:
            for pool, rows in pools:
                places = order.shuffled(pool)
                for step in range(max(start, pool.steps.start), pool.steps.stop):
                    yield rows.take(places[order.rows_of(pool, step)])

    def _pools(self, start: int) -> Iterator[tuple[Pool, EncodedRows]]:
        """Pools of encoded rows, which stand in the order of their pieces."""
        raw: Iterator[pa.RecordBatch] | None = None
        left: pa.RecordBatch | None = None
        for pool in self._order.pools(start):
            raw = raw or self._share(pool.rows.start)
            held: list[EncodedRows] = []
            wanted = len(pool.rows)
            while wanted:
                rows = next(raw) if left is None else left
                part, left = rows.slice(0, wanted), rows.slice(wanted)
                left = left if left.num_rows else None
                held.append(EncodedRows.encode(self._encoder, part))
                wanted -= part.num_rows
            yield pool, EncodedRows.concat(held or [EncodedRows.encode(self._encoder, self._no_rows)])

    def _share(self, first_row: int) -> Iterator[pa.RecordBatch]:
        """Raw rows of the share from its `first_row` on."""
        for group, first, stop in self._order.pieces(first_row):
            position = 0
            for rows in self._read(group):
                begin, end = max(first - position, 0), min(stop - position, rows.num_rows)
                if begin < end:
                    yield rows.slice(begin, end - begin)
                position += rows.num_rows
                if position >= stop:
                    break
            if position < stop:
                raise DataError(
                    f"file '{self._file_of(group)}' holds fewer rows of the split than when it was counted; "
                    "do not change files while they are read"
                )
