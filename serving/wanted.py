"""What one request asks for, and what it brings of features."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import pyarrow as pa

from ranker.canonical_text import NOT_CONVERTIBLE

Id = str | int


@dataclass(frozen=True)
class Given:
    """What candidates bring of one column.

    Attributes:
        places: Of the candidates that bring a value.
        values: The value of each.
    """

    places: Sequence[int]
    values: Sequence[Any]

    @cached_property
    def arrow(self) -> pa.Array | None:
        """The values as an encoder reads them fastest; `None` where they have no common type."""
        with suppress(TypeError, OverflowError):  # integers, which most categories are, in half of Arrow's time
            integers = pa.py_buffer(array("q", self.values))
            return pa.Array.from_buffers(pa.int64(), len(self.values), [None, integers])
        with suppress(*NOT_CONVERTIBLE):
            return pa.array(self.values, from_pandas=True)
        return None

    @property
    def column(self) -> pa.Array | Sequence[Any]:
        """The values as a column."""
        return self.values if self.arrow is None else self.arrow


@dataclass(frozen=True)
class Wanted:
    """One request as far as features go: checked against the plan, ids as they came.

    Attributes:
        user_id: As it came; `None` if no user was named.
        item_ids: Of the candidates.
        context: Values by column.
        overrides: By place, in ascending order, the values that candidates bring themselves, by column.
    """

    user_id: Id | None
    item_ids: Sequence[Id]
    context: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def given(self) -> dict[str, Given]:
        """The same overrides, column by column."""
        places, brought = list(self.overrides), list(self.overrides.values())
        if len(set(map(len, brought))) == 1:
            with suppress(KeyError):  # most often all bring the same columns
                return {name: Given(places, [features[name] for features in brought]) for name in brought[0]}
        return {name: self._given(name) for name in dict.fromkeys(chain.from_iterable(brought))}

    def _given(self, name: str) -> Given:
        values = [features[name] for features in self.overrides.values() if name in features]
        if len(values) == len(self.overrides):
            return Given(list(self.overrides), values)
        return Given([place for place, features in self.overrides.items() if name in features], values)
