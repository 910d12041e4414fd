"""From a categorical value to a row of its embedding table: a vocabulary, or a stateless hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ranker.schema import Vocabulary

MISSING_ID = 0  # null
UNKNOWN_ID = 1  # a value without a row of its own
NUM_RESERVED = 2


class IdMap(Protocol):
    """Maps canonical text to table rows; 0 is missing, 1 is unknown."""

    @property
    def num_rows(self) -> int:
        """Rows that the table needs, the two reserved ones included."""

    def rows(self, values: Sequence[str] | npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Row of each value; none of them null."""


class HashMap:
    """A value's row is its hash modulo `num_buckets`; the same in every process and on every machine."""

    def __init__(self, num_buckets: int) -> None:
        self.num_rows = num_buckets + NUM_RESERVED
        self._num_buckets = np.uint64(num_buckets)

    def rows(self, values: Sequence[str] | npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Row of each value; see `IdMap`."""
        hashes = pd.util.hash_array(np.asarray(values, dtype=object), categorize=False)
        return (hashes % self._num_buckets).astype(np.int64) + NUM_RESERVED


class VocabularyMap:
    """A value's row is its place in the vocabulary; values outside it share the unknown row."""

    def __init__(self, values: pa.Array) -> None:
        self.values = values
        self.num_rows = len(values) + NUM_RESERVED
        self._index = pd.Index(values.to_numpy(zero_copy_only=False).astype(object), dtype=object)

    def rows(self, values: Sequence[str] | npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Row of each value; see `IdMap`."""
        places = self._index.get_indexer(pd.Index(np.asarray(values, dtype=object), dtype=object))
        return np.where(places < 0, UNKNOWN_ID, places + NUM_RESERVED).astype(np.int64)

    def extended(self, values: pa.Array) -> VocabularyMap:
        """The same rows, and new ones behind them for those of `values` that have none yet."""
        fresh = values.filter(pa.array(self.rows(values.to_numpy(zero_copy_only=False)) == UNKNOWN_ID))
        return VocabularyMap(pa.concat_arrays([self.values, fresh]))

    def digest(self) -> str:
        """Hash of the values and their order."""
        lengths = pc.binary_length(self.values).to_numpy(zero_copy_only=False)
        text = "".join(self.values.to_pylist())
        return hashlib.sha256(lengths.astype("<i4").tobytes() + text.encode()).hexdigest()


class ValueCounts:
    """How often each value was seen, over a stream of batches."""

    def __init__(self) -> None:
        self._partial: list[pa.Table] = []
        self._pending = 0

    def add(self, values: pa.Array) -> None:
        """Count the values of one batch; nulls are not counted."""
        counts = values.drop_null().value_counts()
        keys = counts.field("values")
        keys = keys.dictionary_decode() if pa.types.is_dictionary(keys.type) else keys
        self._partial.append(pa.table({"value": keys, "count": counts.field("counts")}))
        self._pending += len(keys)
        if self._pending > 2 * self._partial[0].num_rows + 1_000_000:
            self._merge()

    def vocabulary(self, spec: Vocabulary) -> pa.Array:
        """Values seen at least `min_count` times, the most frequent first, ties by value; at most `max_size`."""
        if not self._partial:
            return pa.array([], pa.string())
        counted = self._merge().sort_by([("count", "descending"), ("value", "ascending")])
        kept = counted.filter(pc.greater_equal(counted.column("count"), spec.min_count))
        return kept.column("value").slice(0, spec.max_size).combine_chunks()

    @property
    def empty(self) -> bool:
        """Whether no value was seen at all."""
        return all(part.num_rows == 0 for part in self._partial)

    def _merge(self) -> pa.Table:
        merged = pa.concat_tables(self._partial).group_by("value").aggregate([("count", "sum")])
        merged = pa.table({"value": merged.column("value"), "count": merged.column("count_sum")})
        self._partial, self._pending = [merged], 0
        return merged


def lookup(array: pa.Array, id_map: IdMap) -> npt.NDArray[np.int64]:
    """Table row of every value of a text column, looking each distinct value up once.

    Args:
        array: Strings, plain or dictionary-encoded; nulls allowed.
        id_map: Where the rows come from.
    """
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    row_of_code = np.full(len(encoded.dictionary) + 1, MISSING_ID, np.int64)  # the last place stands for null
    distinct = encoded.dictionary.to_numpy(zero_copy_only=False)
    present = np.asarray(encoded.dictionary.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    if present.any():
        row_of_code[:-1][present] = id_map.rows(distinct[present])
    codes = encoded.indices.cast(pa.int64()).fill_null(len(encoded.dictionary))
    return row_of_code[codes.to_numpy(zero_copy_only=False)]
