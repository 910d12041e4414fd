"""All items at one moment: a table that never changes, and over it what changed since."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_store import HashedIds, IdIndex, ItemTable
from feature_store.item_index import Rows, text_hashes
from ranker.memo import Memo
from serving.errors import readable
from serving.items.encoded import EncodedItems
from serving.items.encoder import EncodedRows
from serving.wanted import Id

# Shapes: L = candidates, N = rows

CURSOR, FAULTS = "cursor", "faults"  # what the note of a table tells


class IndexedItems(NamedTuple):
    """Encoded items by id.

    Attributes:
        texts: The id of each.
        items: All of them.
        rows: Where the item with an id is. A few are in most requests, and what the index says never changes.
    """

    texts: pa.LargeBinaryArray
    items: EncodedItems
    rows: Memo[Id, int]

    @classmethod
    def of_table(cls, table: ItemTable) -> IndexedItems:
        """The items of a table."""
        return cls._of_index(table.id_index, EncodedItems.of_arrays(table.matrices, table.lists))

    @classmethod
    def of(cls, texts: pa.LargeBinaryArray, items: EncodedItems) -> IndexedItems:
        """Items in memory; of an id that comes repeatedly the last one is kept."""
        ids = HashedIds(texts, text_hashes(texts))
        index = IdIndex.build(ids)
        latest = np.flatnonzero(index.find(ids) == np.arange(len(texts)))
        if len(latest) == len(texts):
            return cls._of_index(index, items)
        kept = HashedIds(texts.take(pa.array(latest)), ids.hashes[latest])
        return cls._of_index(IdIndex.build(kept), items.take(latest))

    @classmethod
    def _of_index(cls, index: IdIndex, items: EncodedItems) -> IndexedItems:
        return cls(index.texts, items, Memo(lambda ids: index.find(HashedIds.of(ids)).tolist()))

    def find(self, item_ids: Sequence[Id]) -> Rows:
        """The row of each item [L]; `ABSENT` where there is none."""
        return np.array(self.rows.get(item_ids), np.int32)

    def __len__(self) -> int:
        return len(self.texts)


class Found(NamedTuple):
    """What is known of some candidates.

    Attributes:
        items: Of each candidate; the missing row where there is none [L]. The arrays are the caller's own.
        absent: Places of candidates without a row.
        unreadable: Places of those in whose rows the model cannot read some value.
    """

    items: EncodedItems
    absent: Sequence[int]
    unreadable: Sequence[int]


class ItemSnapshot(NamedTuple):
    """Items as of one moment; what is newer is in another snapshot.

    Attributes:
        table: The items that a table has; its first row is the missing one.
        changed: What changed since, deleted items with a row that is missing; `None`: nothing.
        name: Of the table.
        cursor: How far the changes of the store are in.
        faults: By id, and by column, why a value cannot be read.
        fresh_until: Of the monotonic clock; later than that it is out of date.
    """

    table: IndexedItems
    changed: IndexedItems | None
    name: str
    cursor: str
    faults: Mapping[str, Mapping[str, str]]
    fresh_until: float = -math.inf

    @classmethod
    def of_table(cls, table: ItemTable, name: str) -> ItemSnapshot:
        """The items that a table was built with; out of date, as far as anybody knows."""
        return cls(IndexedItems.of_table(table), None, name, table.note[CURSOR], table.note[FAULTS])

    @property
    def is_stale(self) -> bool:
        """Whether it was not compared with the store for longer than it should."""
        return time.monotonic() > self.fresh_until

    def find(self, item_ids: Sequence[Id]) -> Found:
        """Rows of candidates; what has expired by now is missing."""
        row_L = np.maximum(self.table.find(item_ids), 0)
        expiry_L = self.table.items.expires_at.take(row_L)
        newer = None if self.changed is None else _Newer(self.changed, self.changed.find(item_ids))
        if newer is not None:
            expiry_L[newer.places] = newer.expires_at
        unreadable_L = np.isnan(expiry_L)
        there_L = (expiry_L > time.time()) | unreadable_L
        row_L[~there_L] = 0
        items = self.table.items.take(row_L)
        if newer is not None:
            items = newer.put(items, there_L)
        return Found(items, np.flatnonzero(~there_L).tolist(), np.flatnonzero(unreadable_L).tolist())

    def faults_of(self, item_id: Id) -> Mapping[str, str]:
        """By column, why a value of an item cannot be read."""
        return self.faults.get(readable(str(item_id)), {})

    def with_changes(self, ids: Sequence[str], rows: EncodedRows) -> ItemSnapshot:
        """The same with newer rows.

        Args:
            ids: Whose rows they are; of repeated ones the last counts.
            rows: The rows.
        """
        texts, items = HashedIds.of(ids).texts, rows.items
        if self.changed is not None:
            texts = pa.concat_arrays([self.changed.texts, texts])
            items = EncodedItems.concat([self.changed.items, items])
        names = [readable(entity_id) for entity_id in ids]
        newer = set(names)
        faults = {name: fault for name, fault in self.faults.items() if name not in newer}
        faults |= {names[place]: of_row for place, of_row in rows.faults.items()}
        return self._replace(changed=IndexedItems.of(texts, items), faults=faults)


class _Newer:
    """The candidates whose items changed since the table was built."""

    def __init__(self, changed: IndexedItems, row_L: Rows) -> None:
        self.places = np.flatnonzero(row_L >= 0)
        self._rows = row_L[self.places]
        self._items = changed.items

    @property
    def expires_at(self) -> npt.NDArray[np.float64]:
        return self._items.expires_at.take(self._rows)

    def put(self, items: EncodedItems, there_L: npt.NDArray[np.bool_]) -> EncodedItems:
        """Their rows in the place of the table's, unless they are missing."""
        there = there_L[self.places]
        return items.put(self.places[there], self._items.take(self._rows[there])) if there.any() else items
