"""How many rows of a stream repeat an earlier one, in bounded memory."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from ranker.schema import FrozenConfig
from training.data_check.hashes import Hashes

_NUM_HASHES = 2.0**64
_NOTHING = np.empty(0, np.uint64)


class Duplicates(FrozenConfig):
    """What was counted.

    Attributes:
        columns: Rows that agree in all of these are the same row.
        num_rows: Rows looked at; a subset of all where `exact` is False.
        num_repeated: Those among them that repeat another one of them.
        exact: Whether all rows were looked at.
    """

    columns: tuple[str, ...]
    num_rows: int = Field(ge=0)
    num_repeated: int = Field(ge=0)
    exact: bool

    @property
    def share(self) -> float:
        """Share of rows that repeat another; in [0, 1)."""
        return self.num_repeated / self.num_rows if self.num_rows else 0.0


class DuplicateCounter:
    """Counts repeated 64-bit hashes.

    Exact for up to `capacity` rows. Beyond, the rows whose hash lies below a shrinking bound are counted: all copies of
    a row have the same hash, so whole families of copies are left out, and the share stays unbiased. Holds at most
    `capacity` hashes of 8 bytes, and one batch. Two different rows count as the same with a chance of n² / 2^65.

    Args:
        capacity: Most hashes that are held.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: list[Hashes] = []
        self._num_held = 0
        self._below = _NUM_HASHES

    def add(self, hashes: Hashes) -> None:
        """Take in the hashes of some rows."""
        self._hold([*self._held, hashes if self._below == _NUM_HASHES else hashes[hashes < self._below]])
        while self._num_held > self._capacity:
            self._below /= 2
            whole = np.concatenate(self._held)
            self._hold([whole[whole < self._below]])

    def counted(self, columns: tuple[str, ...]) -> Duplicates:
        """What was found; `columns` are those that were hashed."""
        ordered = np.sort(np.concatenate([_NOTHING, *self._held]))
        return Duplicates(
            columns=columns,
            num_rows=self._num_held,
            num_repeated=int((ordered[1:] == ordered[:-1]).sum()),
            exact=self._below == _NUM_HASHES,
        )

    def _hold(self, held: list[Hashes]) -> None:
        self._held = held
        self._num_held = sum(len(hashes) for hashes in held)
