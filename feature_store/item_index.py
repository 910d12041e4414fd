"""Which row an entity has: an index by the hash of its id, in plain arrays that processes can share.

Rows are listed in the order of their hashes, and a directory says where the hashes with the same leading bits begin.
Since hashes are spread evenly there are one or two of them, so a step or two from there lead to the right one. It is
as quick as open addressing, has no empty slots and no long chains, and one sort makes it. What is found is compared
with the id itself: ids with the same hash never give each other's rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.entity import EntityId, entity_key

# Shapes: L = ids that are looked up, N = rows of the index, P = places of its directory

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int32]

ABSENT = -1

_STEPS = 16  # from a place of the directory; more only if somebody chose the ids to collide
_WORD_BYTES = 8
_MASKS = np.array([(1 << 8 * num_bytes) - 1 for num_bytes in range(_WORD_BYTES + 1)], np.uint64)
_HALF = np.uint64(32)
_PADDING = np.zeros(_WORD_BYTES, np.uint8)
_LAST_HASH = np.uint64(2**64 - 1)


class HashedIds(NamedTuple):
    """Ids to look up, as often as wanted: their texts [L], and a hash of each [L]."""

    texts: pa.LargeBinaryArray
    hashes: Hashes

    @classmethod
    def of(cls, ids: Sequence[EntityId]) -> HashedIds:
        """Ids as their entities' keys.

        Raises:
            InvalidRow: An id is neither text nor an integer.
        """
        texts = _texts(ids)
        return cls(texts, text_hashes(texts))


class IdIndex(NamedTuple):
    """Rows by id.

    Attributes:
        texts: The id of each row [N].
        hashes: Of the ids in ascending order, and the largest hash there is behind them [N + 1].
        rows: Of each hash, of equal ones the latest first, and a 0 behind them [N + 1].
        directory: How many hashes lie below each place [P]; P is a power of two.

    Example:
        >>> index = IdIndex.build(HashedIds.of(["a", 7, "b"]))
        >>> index.find(HashedIds.of(["b", "c", "7"]))
        array([ 2, -1,  1], dtype=int32)
    """

    texts: pa.LargeBinaryArray
    hashes: Hashes
    rows: Rows
    directory: Rows

    @classmethod
    def build(cls, ids: HashedIds) -> IdIndex:
        """An index over rows with these ids; of an id that comes repeatedly the latest row is found."""
        num_rows = len(ids.hashes)
        latest_first = num_rows - 1 - np.argsort(ids.hashes[::-1], kind="stable")
        hashes = np.append(ids.hashes[latest_first], _LAST_HASH)
        bits = max(num_rows - 1, 1).bit_length()
        bounds = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
        directory = np.searchsorted(hashes[:-1], bounds)
        return cls(ids.texts, hashes, np.append(latest_first, 0).astype(np.int32), directory.astype(np.int32))

    def find(self, ids: HashedIds) -> Rows:
        """The row of each id [L]; `ABSENT` where there is none."""
        if not len(self.texts):
            return np.full(len(ids.hashes), ABSENT, np.int32)
        place_L = self._first(ids.hashes)
        row_L = self.rows.take(place_L)
        same_L = pc.equal(self.texts.take(pa.array(row_L)), ids.texts).to_numpy(zero_copy_only=False)
        row_L[~same_L] = ABSENT
        if not same_L.all():
            self._resolve_collisions(ids, place_L, row_L)
        return row_L

    def _first(self, hashes_L: Hashes) -> npt.NDArray[np.int64]:
        """Where the first hash is that is not below each of these."""
        shift = np.uint64(65 - len(self.directory).bit_length())
        place_L = self.directory.take((hashes_L >> shift).view(np.int64)).astype(np.int64)
        for _ in range(_STEPS):
            below_L = self.hashes.take(place_L) < hashes_L
            if not below_L.any():
                return place_L
            place_L += below_L
        return np.searchsorted(self.hashes, hashes_L)

    def _resolve_collisions(self, ids: HashedIds, place_L: npt.NDArray[np.int64], row_L: Rows) -> None:
        """Rows of ids whose hash another id has, too; there are hardly ever any."""
        for at in np.flatnonzero((row_L == ABSENT) & (self.hashes.take(place_L) == ids.hashes)):
            last = np.searchsorted(self.hashes[:-1], ids.hashes[at], side="right")
            rows = self.rows[place_L[at] : last]
            matches = pc.equal(self.texts.take(pa.array(rows)), ids.texts[int(at)])
            if (first := pc.index(matches, True).as_py()) >= 0:
                row_L[at] = rows[first]


def text_hashes(texts: pa.LargeBinaryArray) -> Hashes:
    """A hash of each text: the same in every process, whatever other texts there are.

    Texts are read as words of eight bytes. A word is folded and multiplied, each place with a factor of its own; the
    sum is folded and multiplied once more, so that its leading bits depend on all of them.
    """
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    padded = np.append(np.frombuffer(data or b"", np.uint8), _PADDING)
    words_everywhere = np.ndarray((len(padded) - _WORD_BYTES + 1,), "<u8", padded, 0, (1,))  # overlapping, no copy
    starts_L, num_bytes_L = ends[:-1], ends[1:] - ends[:-1]
    hashes_L: Hashes = num_bytes_L.astype(np.uint64)
    for number in range(-(-int(num_bytes_L.max(initial=0)) // _WORD_BYTES)):
        left_L = num_bytes_L - number * _WORD_BYTES
        mask_L = _MASKS.take(np.minimum(np.maximum(left_L, 0), _WORD_BYTES))
        word_L = words_everywhere[np.minimum(starts_L + number * _WORD_BYTES, ends[-1])] & mask_L
        word_L ^= word_L >> _HALF
        word_L *= _factor(number)
        hashes_L += word_L
    hashes_L ^= hashes_L >> _HALF
    hashes_L *= _factor(-1)
    return hashes_L


@cache
def _factor(number: int) -> np.uint64:
    """An odd number that looks like chance, for each place."""
    return np.uint64(int.from_bytes(hashlib.blake2b(str(number).encode(), digest_size=8).digest(), "little") | 1)


def _texts(ids: Sequence[EntityId]) -> pa.LargeBinaryArray:
    try:
        texts = pa.array(ids, pa.large_binary())
        if not texts.null_count:
            return texts
    except (pa.ArrowTypeError, UnicodeEncodeError):  # integers among them, or lone surrogates
        pass
    return pa.array([entity_key(entity_id) for entity_id in ids], pa.large_binary())
