"""The item side of one model: from candidates to the tensors that it reads, and what each candidate lacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from feature_store import FeatureColumns
from ranker.encoded import Places, SideTensors
from ranker.encoding import Encoder
from ranker.errors import DataError
from serving.errors import readable
from serving.feature_plan import FeaturePlan, no_columns, no_items
from serving.items.encoded import EncodedItems
from serving.items.encoder import UNREADABLE, ItemEncoder
from serving.items.snapshot import Found, ItemSnapshot
from serving.wanted import Given, Wanted


class Candidates(NamedTuple):
    """The candidates of one request, encoded.

    Attributes:
        tensors: One row per candidate.
        num_missing: Candidates without a row in the store though the model needs one.
        lacking: By place, the raw columns that had no value.
    """

    tensors: SideTensors
    num_missing: int
    lacking: Callable[[int], frozenset[str]]


class ItemSide:
    """Encodes candidates from a snapshot of all items where there is one, and from columns of the store elsewhere.

    Both give the same tensors. What a candidate brings itself wins over either.

    Args:
        encoder: Of the model.
        plan: Which item columns come from the store.

    Attributes:
        snapshot: The newest one; `None` as long as there is none. Replaced as a whole when items change, so a request
            takes it once.
    """

    def __init__(self, encoder: Encoder, plan: FeaturePlan) -> None:
        self.encoder = ItemEncoder(encoder, plan)
        self.plan = plan
        self.snapshot: ItemSnapshot | None = None

    def encode(self, wanted: Wanted, items: ItemSnapshot | FeatureColumns) -> Candidates:
        """The candidates of a request.

        Args:
            wanted: The request.
            items: All items, or what the store has of the candidates, in their order.

        Raises:
            DataError: The store holds a value that the model cannot read.
        """
        if not self.plan.needs_rows(wanted):
            items = no_items(self.plan, len(wanted.item_ids))
        return self._of_snapshot(wanted, items) if isinstance(items, ItemSnapshot) else self._of_columns(wanted, items)

    def _of_columns(self, wanted: Wanted, stored: FeatureColumns) -> Candidates:
        absent = [place for place, is_there in enumerate(stored.present) if not is_there]

        def lacking(place: int) -> frozenset[str]:
            values = {name: column[place] for name, column in stored.values.items()}
            values |= wanted.overrides.get(place, {})
            return frozenset(name for name, value in values.items() if value is None)

        columns = item_columns(self.plan, wanted, stored)
        try:
            tensors = self.encoder.tensors(columns)
        except UNREADABLE as exc:
            place, fault = self.encoder.first_fault(columns)
            raise _unreadable(wanted.item_ids[place], fault or str(exc)) from exc
        return Candidates(tensors, self._num_missing(wanted, absent), lacking)

    def _of_snapshot(self, wanted: Wanted, snapshot: ItemSnapshot) -> Candidates:
        found = snapshot.find(wanted.item_ids)
        for place in found.unreadable:
            given = wanted.overrides.get(place, {})
            for name, fault in snapshot.faults_of(wanted.item_ids[place]).items():
                if name not in given:
                    raise _unreadable(wanted.item_ids[place], fault)
        stored = found.items
        items = self._with_given(wanted, found)

        def lacking(place: int) -> frozenset[str]:
            given = wanted.overrides.get(place, {})
            missing = self.encoder.lacking(stored, place) - given.keys()
            return missing | {name for name, value in given.items() if value is None}

        tensors = self.encoder.layout.side(items).tensors()
        return Candidates(tensors, self._num_missing(wanted, found.absent), lacking)

    def _with_given(self, wanted: Wanted, found: Found) -> EncodedItems:
        """The stored items with what the request brings: values of single candidates, ids of those without a row."""
        unnamed = found.absent if self.plan.item_id else ()
        places = sorted({*wanted.overrides, *unnamed})
        if not places:
            return found.items
        columns = dict(wanted.given)
        columns |= {name: Given(unnamed, [wanted.item_ids[place] for place in unnamed]) for name in self.plan.item_id}
        rows = _Rows(places)
        values = {name: rows.spread(given) for name, given in columns.items()}
        places_of = {name: rows.pairs(given.places) for name, given in columns.items()}
        return self.encoder.layout.put(found.items, self.encoder.values(values, len(places)), places_of)

    def _num_missing(self, wanted: Wanted, absent: Sequence[int]) -> int:
        return sum(self.plan.needs_row(wanted.overrides.get(place, ())) for place in absent)


def item_columns(plan: FeaturePlan, wanted: Wanted, stored: FeatureColumns) -> Mapping[str, Sequence[Any]]:
    """The candidates' values by column: stored ones, then what the candidates override."""
    columns = {name: _with_given(stored.values[name], wanted.given.get(name)) for name in plan.item}
    columns |= dict.fromkeys(plan.item_id, wanted.item_ids)
    return columns or no_columns(len(wanted.item_ids))


def _with_given(stored: Sequence[Any], given: Given | None) -> Sequence[Any]:
    if given is None:
        return stored
    if len(given.places) == len(stored):
        return given.column
    values = list(stored)
    for place, value in zip(given.places, given.values, strict=True):
        values[place] = value
    return values


def _unreadable(item_id: str | int, fault: str) -> DataError:
    return DataError(f"item '{readable(str(item_id))}': {fault}")


class _Rows:
    """A row for each place where something is given."""

    def __init__(self, places: list[int]) -> None:
        self._places = places
        self._row_of = {place: row for row, place in enumerate(places)}
        self._all = np.array(places, np.int64), np.arange(len(places))

    def spread(self, given: Given) -> Sequence[Any]:
        """Values of a column in every row, `None` where nothing was given."""
        if given.places == self._places:
            return given.column
        values: list[Any] = [None] * len(self._row_of)
        for place, value in zip(given.places, given.values, strict=True):
            values[self._row_of[place]] = value
        return values

    def pairs(self, places: Sequence[int]) -> tuple[Places, Places]:
        """Places, and the row of each."""
        if places == self._places:
            return self._all
        return np.array(places, np.int64), np.array([self._row_of[place] for place in places], np.int64)
