"""Remembers what was computed before, for many keys at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MAX_KEYS = 1 << 16  # some 10 MB of ids of usual lengths and numbers


class Memo(Generic[K, V]):
    """Values by key, for what costs much more to compute than to look up, and whose keys come again and again.

    Args:
        compute: Values of keys, in their order; for a key always the same one.
        max_keys: That are remembered, the first ones that come. What is asked with others is computed, all of it.

    Example:
        >>> lengths = Memo(lambda words: [len(word) for word in words])
        >>> lengths.get(["one", "three", "one"])
        [3, 5, 3]
    """

    def __init__(self, compute: Callable[[list[K]], Sequence[V]], max_keys: int = _MAX_KEYS) -> None:
        self._compute = compute
        self._max_keys = max_keys
        self._values: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def get(self, keys: Sequence[K]) -> list[V]:
        """The value of each key."""
        values = self._values
        try:
            return list(map(values.__getitem__, keys))
        except KeyError:
            if len(values) + len(keys) > self._max_keys:
                return [*self._compute(list(keys))]
        unknown = [key for key in keys if key not in values]
        values.update(zip(unknown, self._compute(unknown), strict=True))
        return list(map(values.__getitem__, keys))
