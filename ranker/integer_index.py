"""From integers to rows."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ranker.hash_index import NOWHERE, HashIndex

# Shapes: N = listed integers, Q = integers to find

Integers = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]

_SPARSEST = 4  # numbers of the range for each listed one: 16 bytes each, less than a hash index needs
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio: Knuth, The Art of Computer Programming, 6.4


class IntegerIndex(Protocol):
    """Finds many integers at once."""

    def find(self, integers_Q: Integers) -> Rows:
        """Row of each integer; `NOWHERE` if it is not listed."""


def integer_index(integers_N: Integers, rows_N: npt.NDArray[np.integer[Any]]) -> IntegerIndex:
    """An index of different integers: by address where they lie close together, by hash elsewhere.

    Args:
        integers_N: The listed integers.
        rows_N: Row of each, below 2**31.

    Example:
        >>> integer_index(np.array([7, 9, 8]), np.array([2, 3, 4])).find(np.array([8, 10])).tolist()
        [4, -1]
    """
    if len(integers_N) and int(integers_N.max()) - int(integers_N.min()) < _SPARSEST * len(integers_N):
        return DirectIndex(integers_N, rows_N)
    return HashedIntegers(integers_N, rows_N)


class DirectIndex:
    """Holds a row for every number between the least and the largest: one access finds it."""

    def __init__(self, integers_N: Integers, rows_N: npt.NDArray[np.integer[Any]]) -> None:
        self._least = integers_N.min()
        # The entry behind the last is for all numbers out of range
        self._rows = np.full(int(integers_N.max() - self._least) + 2, NOWHERE, np.int32)
        self._rows[integers_N - self._least] = rows_N

    def find(self, integers_Q: Integers) -> Rows:
        """See `IntegerIndex`."""
        steps_Q = (integers_Q - self._least).view(np.uint64)  # what is less than the least comes out huge
        rows_Q: Rows = self._rows.take(np.minimum(steps_Q, np.uint64(len(self._rows) - 1)).view(np.int64))
        return rows_Q


class HashedIntegers:
    """Takes integers for hashes, spread evenly over 64 bits."""

    def __init__(self, integers_N: Integers, rows_N: npt.NDArray[np.integer[Any]]) -> None:
        self._index = HashIndex(_spread(integers_N))
        self._rows = np.append(rows_N, NOWHERE).astype(np.int32)  # the last one for those that are nowhere

    def find(self, integers_Q: Integers) -> Rows:
        """See `IntegerIndex`."""
        return self._rows.take(self._index.find(_spread(integers_Q)))


def _spread(integers: Integers) -> npt.NDArray[np.uint64]:
    return integers.view(np.uint64) * _ODD
