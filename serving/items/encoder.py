"""From the rows of a store to encoded items, for one model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from feature_store import FeatureRow
from ranker.encoded import SideTensors
from ranker.encoding import Encoder
from ranker.errors import DataError
from ranker.schema import NumericFeature
from serving.errors import readable
from serving.feature_plan import Columns, FeaturePlan
from serving.items.encoded import EncodedItems, ItemLayout

# Shapes: L = items, C = stored columns

UNREADABLE = (DataError, OverflowError)  # how an encoder refuses a value


class EncodedRows(NamedTuple):
    """Encoded items.

    Attributes:
        items: Of each row.
        faults: By place, and by column, why the model cannot read a value; in `items` it is missing.
    """

    items: EncodedItems
    faults: Mapping[int, Mapping[str, str]]


class ItemEncoder:
    """Encodes items as one model reads them.

    Args:
        encoder: Of the model.
        plan: Which columns come from the store, and which hold the id.
    """

    def __init__(self, encoder: Encoder, plan: FeaturePlan) -> None:
        self.layout = ItemLayout(encoder.schema)
        self._encoder = encoder
        self.plan = plan

    @property
    def fingerprint(self) -> str:
        """Changes whenever any value could be encoded differently."""
        return self._encoder.fingerprint

    @property
    def fits_a_table(self) -> bool:
        """Whether items can be kept encoded: the store has something to tell, and ids are read as categories only."""
        features = self._encoder.schema.side_features("item")
        as_numbers = any(isinstance(f, NumericFeature) and f.column in self.plan.item_id for f in features)
        return bool(self.plan.item) and not as_numbers

    def encode(
        self, ids: Sequence[str], rows: Sequence[FeatureRow | None], max_age_seconds: float | None = None
    ) -> EncodedRows:
        """Encode rows of the store. A value that cannot be read spoils no other.

        Args:
            ids: Whose rows they are.
            rows: As the store has them; `None` where it has none.
            max_age_seconds: Rows with an older event time, or none, count as missing; `None` takes any.
        """
        try:
            return EncodedRows(self._encode(ids, rows, max_age_seconds), {})
        except UNREADABLE:
            if len(rows) == 1:
                return self._readable(ids[0], rows[0])
        half = len(rows) // 2
        first = self.encode(ids[:half], rows[:half], max_age_seconds)
        second = self.encode(ids[half:], rows[half:], max_age_seconds)
        faults = {**first.faults, **{half + place: fault for place, fault in second.faults.items()}}
        return EncodedRows(EncodedItems.concat([first.items, second.items]), faults)

    def values(self, columns: Mapping[str, Sequence[Any]], num_rows: int) -> EncodedItems:
        """Plain values of some columns; the others are missing.

        Raises:
            DataError: A value cannot be read.
        """
        nothing = pa.nulls(num_rows)
        wanted = (*self.plan.item, *self.plan.item_id)
        side = self._encoder.side_columns({name: columns.get(name, nothing) for name in wanted}, "item")
        unset = np.zeros((num_rows, 0), np.uint8), np.zeros((num_rows, 0))
        return self.layout.items(side, *unset)

    def lacking(self, items: EncodedItems, place: int) -> frozenset[str]:
        """Stored columns in which an item has no value."""
        bits = np.unpackbits(items.lacking[place], count=len(self.plan.item))
        return frozenset(name for name, bit in zip(self.plan.item, bits.tolist(), strict=True) if bit)

    def tensors(self, columns: Mapping[str, Sequence[Any]]) -> SideTensors:
        """Raw item columns as the model reads them.

        Raises:
            DataError: A value cannot be read.
        """
        return self._encoder.encode_side(columns, "item")

    def first_fault(self, columns: Mapping[str, Sequence[Any]]) -> tuple[int, str | None]:
        """Of columns that cannot be read, the place of the first row that is why, and what is wrong with it."""
        first, end = 0, len(next(iter(columns.values())))
        while end - first > 1:
            middle = (first + end) // 2
            first, end = (first, middle) if self._fault(_rows(columns, first, middle)) else (middle, end)
        return first, self._fault(_rows(columns, first, end))

    def _readable(self, entity_id: str, row: FeatureRow | None) -> EncodedRows:
        """What can be read of a row."""
        values = {} if row is None else {name: row.values.get(name) for name in self.plan.item}
        named = values | dict.fromkeys(self.plan.item_id, entity_id)
        faults = {name: fault for name, value in named.items() if (fault := self._fault({name: [value]}))}
        rest = FeatureRow({name: value for name, value in values.items() if name not in faults}, None)
        items = self._encode(["" if faults.keys() & self.plan.item_id else entity_id], [rest], None)
        return EncodedRows(items._replace(expires_at=np.full((1, 1), math.nan)), {0: faults})

    def _fault(self, columns: Mapping[str, Sequence[Any]]) -> str | None:
        """Why values cannot be read, if they cannot."""
        try:
            self.values(columns, len(next(iter(columns.values()))))
        except UNREADABLE as exc:
            return readable(str(exc))
        return None

    def _encode(
        self, ids: Sequence[str], rows: Sequence[FeatureRow | None], max_age_seconds: float | None
    ) -> EncodedItems:
        columns: Columns = {
            name: [None if row is None else row.values.get(name) for row in rows] for name in self.plan.item
        }
        lacking_LC = np.array([[value is None for value in values] for values in columns.values()]).T
        columns |= {name: list(ids) for name in self.plan.item_id}
        side = self._encoder.side_columns(columns, "item")
        expires_at = np.array([_expires_at(row, max_age_seconds) for row in rows])
        return self.layout.items(side, np.packbits(lacking_LC, axis=1), expires_at[:, None])


def _rows(columns: Mapping[str, Sequence[Any]], first: int, end: int) -> dict[str, Sequence[Any]]:
    return {name: values[first:end] for name, values in columns.items()}


def _expires_at(row: FeatureRow | None, max_age_seconds: float | None) -> float:
    if row is None:
        return -math.inf
    stays_until = math.inf if row.expires_at is None else row.expires_at
    if max_age_seconds is None:
        return stays_until
    return -math.inf if row.event_time is None else min(stays_until, row.event_time + max_age_seconds)
