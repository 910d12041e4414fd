"""From a categorical value to a row of its embedding table: a vocabulary, or a stateless hash."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

from ranker.hash_index import NOWHERE, HashIndex
from ranker.integer_index import IntegerIndex, integer_index
from ranker.schema import Vocabulary

MISSING_ID = 0  # null
UNKNOWN_ID = 1  # a value without a row of its own
NUM_RESERVED = 2

_MERGE_AT = 1_000_000  # distinct values of unmerged batches that are held before they are added up
_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"  # as text, of those that surely fit into 64 bits


class IdMap(Protocol):
    """Maps canonical text to table rows; 0 is missing, 1 is unknown."""

    @property
    def num_rows(self) -> int:
        """Rows that the table needs, the two reserved ones included."""

    def rows(self, values: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Row of each value; none of them null."""

    def row(self, value_hash: int) -> int:
        """Row of one value, by its `text_hash`."""


class HashMap:
    """A value's row is its hash modulo `num_buckets`; the same in every process and on every machine."""

    def __init__(self, num_buckets: int) -> None:
        self._num_buckets = np.uint64(num_buckets)

    @property
    def num_rows(self) -> int:
        """Rows of the table; see `IdMap`."""
        return int(self._num_buckets) + NUM_RESERVED

    def rows(self, values: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Row of each value; see `IdMap`."""
        return (text_hash(values) % self._num_buckets).astype(np.int64) + NUM_RESERVED

    def row(self, value_hash: int) -> int:
        """Row of one value; see `IdMap`."""
        return value_hash % int(self._num_buckets) + NUM_RESERVED


class VocabularyMap:
    """A value's row is its place in the vocabulary; values outside it share the unknown row or overflow rows.

    Overflow rows lie between the reserved ones and those of the vocabulary, so that values can be appended without
    moving any row. Held as 64-bit hashes: a million values need a quarter of what an index of strings does. An unknown
    value is taken for one of a million known ones with a chance of 5e-14.

    Args:
        values: Distinct strings, none null, in row order.
        num_overflow: Rows that values outside share by their hash; 0: they share the unknown row.
    """

    def __init__(self, values: pa.Array, num_overflow: int = 0) -> None:
        self.values, self.num_overflow = values, num_overflow
        self._index = HashIndex(text_hash(values.to_numpy(zero_copy_only=False)))

    @property
    def num_rows(self) -> int:
        """Rows of the table; see `IdMap`."""
        return len(self.values) + self._first_row

    def rows(self, values: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
        """Row of each value; see `IdMap`."""
        hashes = text_hash(values)
        places = self._index.find(hashes)
        return np.where(places == NOWHERE, self._outside(hashes), places + self._first_row)

    def row(self, value_hash: int) -> int:
        """Row of one value; see `IdMap`."""
        place = self._index.find_one(value_hash)
        if place != NOWHERE:
            return place + self._first_row
        return value_hash % self.num_overflow + NUM_RESERVED if self.num_overflow else UNKNOWN_ID

    def integer_rows(self, values: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Row of each integer: that of its text, found without writing it."""
        rows = self._integers.find(values)
        if len(unknown := np.flatnonzero(rows == NOWHERE)):
            texts = pa.array(values[unknown]).cast(pa.string())
            rows[unknown] = self.rows(texts.to_numpy(zero_copy_only=False))
        return rows

    def knows(self, values: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
        """Which of the values have a row of their own."""
        return self.rows(values) >= self._first_row

    def extended(self, values: pa.Array, max_size: int | None = None) -> VocabularyMap:
        """The same rows, and new ones behind them for those of `values` that have none yet.

        Args:
            values: Distinct strings, the most wanted first.
            max_size: Most values that the result may hold; what is here already always stays.
        """
        fresh = values.filter(pa.array(~self.knows(values.to_numpy(zero_copy_only=False))))
        room = len(fresh) if max_size is None else max(max_size - len(self.values), 0)
        return VocabularyMap(pa.concat_arrays([self.values, fresh.slice(0, room)]), self.num_overflow)

    def digest(self) -> str:
        """Hash of the values and their order."""
        lengths = pc.binary_length(self.values).to_numpy(zero_copy_only=False).astype("<i4")
        first = pa.concat_arrays([self.values.slice(0, 0), self.values])  # offsets of a copy begin at 0
        data = first.buffers()[2]
        return hashlib.sha256(
            lengths.tobytes() + (data.to_pybytes()[: int(lengths.sum())] if data else b"")
        ).hexdigest()

    @property
    def _first_row(self) -> int:
        """Row of the first value."""
        return NUM_RESERVED + self.num_overflow

    @cached_property
    def _integers(self) -> IntegerIndex:
        """Rows of the values that are integers."""
        places = np.flatnonzero(pc.match_substring_regex(self.values, _INTEGER).to_numpy(zero_copy_only=False))
        integers = self.values.take(pa.array(places)).cast(pa.int64()).to_numpy()
        return integer_index(integers, places + self._first_row)

    def _outside(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Rows of values that the vocabulary does not have."""
        if not self.num_overflow:
            return np.full(len(hashes), UNKNOWN_ID)
        return (hashes % np.uint64(self.num_overflow)).astype(np.int64) + NUM_RESERVED


class ValueCounts:
    """How often each value was seen, over a stream of batches; the order of the batches makes no difference."""

    def __init__(self) -> None:
        self._partial: list[pa.Table] = []
        self._pending = 0

    def add(self, values: pa.Array) -> None:
        """Count the values of one batch, canonical text; nulls are not counted."""
        counts = values.drop_null().value_counts()
        keys = counts.field("values")
        keys = keys.dictionary_decode() if pa.types.is_dictionary(keys.type) else keys
        self._partial.append(pa.table({"value": keys, "count": counts.field("counts")}))
        self._pending += len(keys)
        if self._pending > 2 * self._partial[0].num_rows + _MERGE_AT:
            self._merge()

    def vocabulary(self, spec: Vocabulary) -> pa.Array:
        """Values seen at least `min_count` times, the most frequent first, ties by value; at most `max_size`."""
        if not self._partial:
            return pa.array([], pa.string())
        counted = self._merge()
        kept = counted.filter(pc.greater_equal(counted.column("count"), spec.min_count))
        ordered = kept.sort_by([("count", "descending"), ("value", "ascending")])
        return ordered.column("value").slice(0, spec.max_size).combine_chunks()

    def _merge(self) -> pa.Table:
        merged = pa.concat_tables(self._partial).group_by("value").aggregate([("count", "sum")])
        merged = pa.table({"value": merged.column("value"), "count": merged.column("count_sum")})
        self._partial, self._pending = [merged], 0
        return merged


def text_hash(values: npt.NDArray[np.object_]) -> npt.NDArray[np.uint64]:
    """SipHash of the UTF-8 bytes of each string, with a fixed key: the same in every process and on every machine."""
    hashes: npt.NDArray[Any] = hash_array(values, categorize=False)
    return hashes


def lookup(array: pa.Array, id_map: IdMap) -> npt.NDArray[np.int32]:
    """Table row of every value of a text column, looking each distinct value up once.

    Args:
        array: Canonical text, plain or dictionary-encoded (the dictionary free of null); nulls allowed.
        id_map: Where the rows come from.
    """
    encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    row_of_code = np.empty(len(encoded.dictionary) + 1, np.int32)
    row_of_code[:-1] = id_map.rows(encoded.dictionary.to_numpy(zero_copy_only=False))
    row_of_code[-1] = MISSING_ID
    codes = encoded.indices
    if codes.null_count:
        codes = codes.cast(pa.int64()).fill_null(len(row_of_code) - 1)
    rows: npt.NDArray[np.int32] = row_of_code.take(codes.to_numpy(zero_copy_only=False))
    return rows


def lookup_integers(array: pa.Array, vocabulary: VocabularyMap) -> npt.NDArray[np.int32]:
    """As `lookup` of the integers' text, many times as fast.

    Args:
        array: Integers that fit into 64 bits with their sign; nulls allowed.
        vocabulary: Where the rows come from.
    """
    known = array if array.null_count == 0 else array.fill_null(0)
    known = known if pa.types.is_int64(known.type) else known.cast(pa.int64())
    rows = vocabulary.integer_rows(known.to_numpy())
    if array.null_count:
        rows[array.is_null().to_numpy(zero_copy_only=False)] = MISSING_ID
    return rows
