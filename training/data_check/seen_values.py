"""Which values a categorical feature took, and how often, in bounded memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from ranker.id_maps import text_hash
from ranker.schema import FrozenConfig

_NUM_HASHES = 2.0**64
_LOW_BITS = np.uint64(11)  # of a bound are zero, so that a float holds it exactly


class SeenValues(FrozenConfig):
    """The values whose hash is below a bound, each with its exact count.

    Two such sets are comparable whatever their bounds: below the smaller bound both are complete.

    Attributes:
        counts: Rows by value.
        fraction: Share of all hashes that lies below the bound; 1.0: every value is here.
    """

    counts: dict[str, int]
    fraction: float = Field(gt=0, le=1)

    @property
    def complete(self) -> bool:
        """Whether every value is here."""
        return self.fraction == 1.0

    @property
    def num_distinct(self) -> float:
        """How many values there are; an estimate unless `complete`, with a relative error of 1 / sqrt(len(counts))."""
        return len(self.counts) / self.fraction

    def below(self, fraction: float) -> dict[str, int]:
        """The values, and their counts, that a set of that fraction would hold too."""
        if fraction >= self.fraction or not self.counts:
            return self.counts
        known = text_hash(np.array(list(self.counts), dtype=object)) < np.uint64(fraction * _NUM_HASHES)
        return {value: count for (value, count), chosen in zip(self.counts.items(), known, strict=True) if chosen}


class ValueSketch:
    """Collects `SeenValues` from a stream.

    Holds the `capacity` values of smallest hash: Bar-Yossef et al., "Counting Distinct Elements in a Data Stream",
    2002. The count beside each is exact, since a value is kept from its first row on, or never comes back.

    Args:
        capacity: Most values in the result; up to four times as many, and those of one batch, are held on the way.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._partial: list[pa.Table] = []
        self._below: np.uint64 | None = None

    def add(self, values: pa.Array, counts: pa.Array) -> None:
        """Count values of one batch.

        Args:
            values: Canonical text, nulls allowed; a value may be there several times.
            counts: Rows of each.
        """
        batch = pa.table({"value": values, "count": counts}).drop_null()
        hashes = text_hash(batch.column("value").to_numpy())
        batch = batch.append_column("hash", pa.array(hashes))
        if self._below is not None:
            batch = batch.filter(pa.array(hashes < self._below))
        self._partial.append(batch)
        if sum(table.num_rows for table in self._partial) > 4 * self._capacity:
            self._merge()

    def seen(self) -> SeenValues:
        """What was collected, the most frequent values first, ties by value."""
        if not self._partial:
            return SeenValues(counts={}, fraction=1.0)
        table = self._merge().sort_by([("count", "descending"), ("value", "ascending")])
        counts = dict(zip(table.column("value").to_pylist(), table.column("count").to_pylist(), strict=True))
        return SeenValues(counts=counts, fraction=1.0 if self._below is None else float(self._below) / _NUM_HASHES)

    def _merge(self) -> pa.Table:
        grouped = pa.concat_tables(self._partial).group_by("value").aggregate([("count", "sum"), ("hash", "min")])
        merged = pa.table({"value": grouped["value"], "count": grouped["count_sum"], "hash": grouped["hash_min"]})
        if merged.num_rows > self._capacity:
            first_out = np.partition(merged.column("hash").to_numpy(), self._capacity)[self._capacity]
            self._below = first_out >> _LOW_BITS << _LOW_BITS
            merged = merged.filter(pc.less(merged.column("hash"), pa.scalar(self._below, pa.uint64())))
        self._partial = [merged]
        return merged
