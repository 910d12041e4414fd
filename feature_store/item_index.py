"""Where the row of an entity is: an index by the hash of its id, in plain arrays that processes can share.

Rows are listed in the order of their hashes, and a directory says where those with the same leading bits begin. Hashes
are spread evenly, so that is two or fewer to a place: one look into the directory and one at the next few hashes finds
an id. It is as quick as open addressing, has no empty slots and no long chains, and a sort makes it. What is found is
compared with the id itself: ids with the same hash never give each other's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_store.entity import EntityId, entity_key

# Shapes: L = ids that are looked up, N = ids in the index, P = places of its directory

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int32]

ABSENT = -1
PADDING_BYTES = 8  # behind the text of ids: they are read eight bytes at a time

_WINDOW = np.arange(8)
_MASKS = np.array([(1 << 8 * num_bytes) - 1 for num_bytes in range(9)], np.uint64)
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93))
_HALF = np.uint64(32)


class IdTexts:
    """Ids as text: UTF-8 in one array of bytes, and where each begins.

    Args:
        data: All texts, one behind the other, and `PADDING_BYTES` more.
        ends: Where each text ends and the next one begins, from 0 on, [L + 1].
    """

    def __init__(self, data: Bytes, ends: Places) -> None:
        self.data = data
        self.ends = ends
        # Eight bytes from every place on, without a copy
        self._eights = np.ndarray((len(data) - PADDING_BYTES + 1,), "<u8", data, 0, (1,))

    @classmethod
    def of(cls, ids: Sequence[EntityId]) -> IdTexts:
        """The texts of ids; 5 and "5" are one.

        Raises:
            InvalidRow: An id is neither text nor an integer.
        """
        try:
            array = pa.array(ids, pa.large_string())
        except (pa.ArrowException, UnicodeEncodeError):  # numbers among them, or lone surrogates
            array = pa.array([entity_key(entity_id) for entity_id in ids], pa.large_binary())
        _, ends, data = array.buffers()
        places = np.frombuffer(ends, np.int64, len(ids) + 1) if ids else np.zeros(1, np.int64)
        found = np.frombuffer(data, np.uint8, int(places[-1])) if data else np.empty(0, np.uint8)
        return cls(np.append(found, np.zeros(PADDING_BYTES, np.uint8)), places)

    def __len__(self) -> int:
        return len(self.ends) - 1

    @cached_property
    def num_bytes(self) -> Places:
        """Length of each text."""
        return np.diff(self.ends)

    def words(self, starts_L: Places, num_bytes_L: Places, number: int) -> Hashes:
        """Bytes 8 n to 8 n + 7 of texts as one integer each; 0 stands for what is behind a text."""
        taken_L = np.clip(num_bytes_L - 8 * number, 0, 8)
        return self._eights[starts_L + 8 * number * (taken_L > 0)] & _MASKS[taken_L]

    @cached_property
    def all_words(self) -> list[Hashes]:
        """Every text as integers: the first of each, then the second."""
        longest = int(self.num_bytes.max(initial=1))
        return [self.words(self.ends[:-1], self.num_bytes, number) for number in range(-(-longest // 8))]

    @cached_property
    def hashes(self) -> Hashes:
        """A hash of each text, the same in every process; it depends on the text alone."""
        hashes = (self.num_bytes + 1).astype(np.uint64) * _MIX[0]
        for number, words in enumerate(self.all_words):
            mixed = (hashes ^ words) * _MIX[1]
            mixed ^= mixed >> _HALF
            hashes = mixed if number == 0 else np.where(self.num_bytes > 8 * number, mixed, hashes)
        return hashes * _MIX[0]


class IndexArrays(NamedTuple):
    """What an index consists of.

    Attributes:
        hashes: In ascending order, [N].
        rows: Of each hash, [N]; of one id's rows the latest comes first.
        directory: How many hashes have leading bits below each place's, [P + 1]; P is a power of two.
    """

    hashes: Hashes
    rows: Rows
    directory: Rows


class IdIndex:
    """Rows by id.

    Args:
        texts: The id of each row.
        arrays: Made of them by `index_arrays`.

    Example:
        >>> texts = IdTexts.of(["a", 7, "b"])
        >>> IdIndex(texts, index_arrays(texts.hashes)).find(IdTexts.of(["b", "c", "7"]))
        array([ 2, -1,  1], dtype=int32)
    """

    def __init__(self, texts: IdTexts, arrays: IndexArrays) -> None:
        self._texts = texts
        self._arrays = arrays
        self._shift = np.uint64(64 - (len(arrays.directory) - 1).bit_length() + 1)

    def find(self, ids: IdTexts) -> Rows:
        """The row of each id, [L]; `ABSENT` where there is none. Of an id's rows the latest."""
        hashes, rows, directory = self._arrays
        if not len(rows) or not len(ids):
            return np.full(len(ids), ABSENT, np.int32)
        place_L = (ids.hashes >> self._shift).astype(np.int64)
        first_L = directory.take(place_L).astype(np.int64)
        equal_LW = hashes.take(first_L[:, None] + _WINDOW, mode="clip") == ids.hashes[:, None]
        found_L = rows.take(first_L + equal_LW.argmax(axis=1), mode="clip")
        found_L[~(equal_LW.any(axis=1) & self._same(found_L, ids))] = ABSENT
        self._look_further(found_L, ids, first_L, directory.take(place_L + 1))
        return found_L

    def _same(self, rows_L: Rows, ids: IdTexts) -> npt.NDArray[np.bool_]:
        """Whether rows have these very ids."""
        starts_L = self._texts.ends.take(rows_L)
        num_bytes_L = self._texts.ends.take(rows_L + 1) - starts_L
        same_L = num_bytes_L == ids.num_bytes
        for number, words_L in enumerate(ids.all_words):
            same_L &= self._texts.words(starts_L, num_bytes_L, number) == words_L
        return same_L

    def _look_further(self, found_L: Rows, ids: IdTexts, first_L: Places, end_L: Rows) -> None:
        """Ids whose place is crowded, or whose hash is another id's too: one by one, since there are hardly any."""
        hashes, rows, _ = self._arrays
        for at in np.flatnonzero((found_L == ABSENT) & (end_L > first_L)):
            begin, end = first_L[at], end_L[at]
            equal = begin + np.flatnonzero(hashes[begin:end] == ids.hashes[at])
            for row in rows[equal]:
                if self._text(row) == ids.data[ids.ends[at] : ids.ends[at + 1]].tobytes():
                    found_L[at] = row
                    break

    def _text(self, row: np.int32) -> bytes:
        return self._texts.data[self._texts.ends[row] : self._texts.ends[row + 1]].tobytes()


def index_arrays(hashes: Hashes) -> IndexArrays:
    """The arrays of an index over rows with these hashes, [N]."""
    num_rows = len(hashes)
    # From the last row to the first, so that of equal hashes the latest comes first
    order = num_rows - 1 - np.argsort(hashes[::-1], kind="stable")
    ordered = hashes[order]
    bits = max(num_rows - 1, 1).bit_length()
    bounds = np.arange(1 << bits, dtype=np.uint64) << np.uint64(64 - bits)
    directory = np.append(np.searchsorted(ordered, bounds), num_rows)
    return IndexArrays(ordered, order.astype(np.int32), directory.astype(np.int32))
