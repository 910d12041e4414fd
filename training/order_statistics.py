"""Exact quantiles of a stream that is read several times, whatever its length, in four passes and 512 KB a rank."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BITS = 16  # of a digit
_SIGN = np.uint64(1 << 63)


def stream_quantiles(scan: Callable[[], Iterable[Floats]], fractions: Sequence[float]) -> Floats | None:
    """What `numpy.quantile` says of all values together, to the last bit, without holding them.

    Radix selection: values become unsigned integers of the same order, whose digits of 16 bits are counted from the
    highest to the lowest, each among the values that agree with what is known so far.

    Args:
        scan: Streams the values, finite ones, the same each time.
        fractions: Which quantiles, from 0 to 1.

    Returns:
        One quantile per fraction; None if there is no value.

    Example:
        >>> stream_quantiles(lambda: [np.array([5.0, 1.0]), np.array([2.0])], [0.5, 0.75])
        array([2. , 3.5])
    """
    total = sum(len(values) for values in scan())
    if not total:
        return None
    positions = np.asarray(fractions) * (total - 1)
    lower = np.floor(positions).astype(np.int64)
    ranks = np.unique([lower, np.minimum(lower + 1, total - 1)])
    value_of = dict(zip(ranks.tolist(), _select(scan, ranks), strict=True))
    between = [(value_of[rank], value_of[min(rank + 1, total - 1)]) for rank in lower.tolist()]
    return np.array([np.quantile(pair, place % 1.0) for pair, place in zip(between, positions, strict=True)])


def _select(scan: Callable[[], Iterable[Floats]], ranks: npt.NDArray[np.int64]) -> list[float]:
    """The values that stand at `ranks` when all are sorted."""
    known, left = np.zeros(len(ranks), np.uint64), ranks.copy()
    for shift in range(64 - _BITS, -1, -_BITS):
        prefixes, which = np.unique(known, return_inverse=True)  # neighbours mostly share theirs
        counts = np.zeros((len(prefixes), 1 << _BITS), np.int64)
        for values in scan():
            keys = _ordered(values) >> np.uint64(shift)
            above, digits = keys >> np.uint64(_BITS), keys.astype(np.uint16)
            for place, prefix in enumerate(prefixes):
                counts[place] += np.bincount(digits[above == prefix], minlength=1 << _BITS)
        sums = np.cumsum(counts, axis=1)
        for place, of_prefix in enumerate(sums[which]):
            digit = int(np.searchsorted(of_prefix, left[place], side="right"))
            left[place] -= of_prefix[digit - 1] if digit else 0
            known[place] = (known[place] << np.uint64(_BITS)) | np.uint64(digit)
    selected: list[float] = _from_ordered(known).tolist()
    return selected


def _ordered(values: Floats) -> npt.NDArray[np.uint64]:
    """Integers that compare as the values do: the sign bit flipped, and of negative values every bit."""
    bits = (values + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _from_ordered(keys: npt.NDArray[np.uint64]) -> Floats:
    return np.where(keys & _SIGN, keys ^ _SIGN, ~keys).view(np.float64)
