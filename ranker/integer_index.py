"""Where in a list an integer is."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ranker.hash_index import NOWHERE, HashIndex

# Shapes: N = listed integers, Q = integers to find, S = numbers from the least listed one to the largest

Integers = npt.NDArray[np.int64]
Places = npt.NDArray[np.integer[Any]]

_SPARSEST = 4  # numbers of the range for each listed one: 16 bytes each, less than a hash index needs
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio: Knuth, The Art of Computer Programming, 6.4


class IntegerIndex(Protocol):
    """Finds many integers at once."""

    def find(self, integers_Q: Integers) -> Places:
        """Place of each integer in the list; `NOWHERE` if it is not there."""


def integer_index(integers_N: Integers) -> IntegerIndex:
    """An index of different integers: by address where they lie close together, by hash elsewhere.

    Example:
        >>> integer_index(np.array([7, 9, 8])).find(np.array([8, 10])).tolist()
        [2, -1]
    """
    if len(integers_N) and int(integers_N.max()) - int(integers_N.min()) < _SPARSEST * len(integers_N):
        return DirectIndex(integers_N)
    return HashedIntegers(integers_N)


class DirectIndex:
    """Holds a place for every number between the least and the largest: one access finds it."""

    def __init__(self, integers_N: Integers) -> None:
        self._least = integers_N.min()
        # The entry behind the last is for all numbers out of range
        self._places = np.full(int(integers_N.max() - self._least) + 2, NOWHERE, np.int32)
        self._places[integers_N - self._least] = np.arange(len(integers_N))

    def find(self, integers_Q: Integers) -> Places:
        """See `IntegerIndex`."""
        steps_Q = (integers_Q - self._least).view(np.uint64)  # what is less than the least comes out huge
        return self._places.take(np.minimum(steps_Q, np.uint64(len(self._places) - 1)).view(np.int64))


class HashedIntegers:
    """Takes integers for hashes, spread evenly over 64 bits."""

    def __init__(self, integers_N: Integers) -> None:
        self._index = HashIndex(_spread(integers_N))

    def find(self, integers_Q: Integers) -> Places:
        """See `IntegerIndex`."""
        return self._index.find(_spread(integers_Q))


def _spread(integers: Integers) -> npt.NDArray[np.uint64]:
    return integers.view(np.uint64) * _ODD
