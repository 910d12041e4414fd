"""Items as a model reads them, in arrays: what an item table keeps, and what requests are put together from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from feature_store import Lists
from ranker.encoded import Bag, Places, SideColumns
from ranker.schema import CategoricalListFeature, FeatureSpec, NumericFeature, Schema

# Shapes: L = items, E = embedded features with one value, N = plain numeric inputs, M = bytes of a bit per column

_MATRICES = ("ids", "numbers", "lacking", "expires_at")


class EncodedItems(NamedTuple):
    """Rows of items, encoded.

    Attributes:
        ids: Table rows of embedded features with one value, int32 [L, E].
        numbers: Plain numeric inputs, float32 [L, N].
        lacking: A bit for each raw column that has no value, uint8 [L, M].
        expires_at: From when on the item counts as missing, unix seconds, float64 [L, 1]; infinity: never, minus
            infinity: it is missing, NaN: the model cannot read all that the store has.
        bags: Table rows of list features.
    """

    ids: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.float32]
    lacking: npt.NDArray[np.uint8]
    expires_at: npt.NDArray[np.float64]
    bags: tuple[Bag, ...]

    @classmethod
    def of_arrays(cls, matrices: Mapping[str, npt.NDArray[Any]], lists: Mapping[str, Lists]) -> EncodedItems:
        """The rows of a table that was written from `matrices` and `lists`."""
        bags = tuple(Bag(*lists[str(number)]) for number in range(len(lists)))
        return cls._make([*(matrices[name] for name in _MATRICES), bags])

    @property
    def matrices(self) -> dict[str, npt.NDArray[Any]]:
        """All but the lists, by name."""
        return {name: getattr(self, name) for name in _MATRICES}

    @property
    def lists(self) -> dict[str, Lists]:
        """The lists, by number."""
        return {str(n): Lists(bag.ids, _offsets(bag)) for n, bag in enumerate(self.bags)}

    @classmethod
    def concat(cls, parts: Sequence[EncodedItems]) -> EncodedItems:
        """The rows of all parts, one part after the other."""
        matrices = [np.concatenate([getattr(part, name) for part in parts]) for name in _MATRICES]
        bags = zip(*(part.bags for part in parts), strict=True)
        return cls._make([*matrices, tuple(Bag.concat(of_feature) for of_feature in bags)])

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> EncodedItems:
        """The rows at some places, in that order; a copy."""
        matrices = [getattr(self, name).take(rows, axis=0) for name in _MATRICES]
        return EncodedItems._make([*matrices, tuple(bag.take(rows.astype(np.int64)) for bag in self.bags)])

    def put(self, places: Places, rows: EncodedItems) -> EncodedItems:
        """The same with other rows at `places`; writes into its arrays."""
        for name in _MATRICES:
            getattr(self, name)[places] = getattr(rows, name)
        pairs = zip(self.bags, rows.bags, strict=True)
        return self._replace(bags=tuple(_put(bag, places, other) for bag, other in pairs))


class ItemLayout:
    """Where in these arrays each item feature of a schema is.

    Args:
        schema: The features.
    """

    def __init__(self, schema: Schema) -> None:
        self._places: list[tuple[FeatureSpec, str, int, int]] = []
        ends = {"ids": 0, "numbers": 0, "bags": 0}
        for feature in schema.side_features("item"):
            kind, width = _kind(feature)
            self._places.append((feature, kind, ends[kind], ends[kind] + width))
            ends[kind] += width

    def items(
        self, side: SideColumns, lacking: npt.NDArray[np.uint8], expires_at: npt.NDArray[np.float64]
    ) -> EncodedItems:
        """What an encoder made of item columns, as arrays."""
        embedded = [(kind, bag) for kind, bag in zip(self._embedded(), side.bags, strict=True)]
        ids = [bag.ids for kind, bag in embedded if kind == "ids"]
        ids_LE = np.stack(ids, axis=1) if ids else np.empty((len(lacking), 0), np.int32)
        bags = tuple(bag for kind, bag in embedded if kind == "bags")
        return EncodedItems(ids_LE, side.numeric_BN, lacking, expires_at, bags)

    def side(self, items: EncodedItems) -> SideColumns:
        """The arrays as columns in model order."""
        ids_EL = np.ascontiguousarray(items.ids.T)
        singles, lists = iter(ids_EL), iter(items.bags)
        bags = tuple(Bag(next(singles)) if kind == "ids" else next(lists) for kind in self._embedded())
        return SideColumns(bags, items.numbers)

    def put(
        self, items: EncodedItems, rows: EncodedItems, places_of: Mapping[str, tuple[Places, Places]]
    ) -> EncodedItems:
        """The same with the values of some features taken from other rows; writes into its arrays.

        Args:
            items: Where to.
            rows: Where from.
            places_of: By raw column, places in `items` and in `rows`; features of other columns stay.
        """
        bags = list(items.bags)
        for feature, kind, start, end in self._places:
            if feature.column in places_of:
                places, sources = places_of[feature.column]
                if kind == "bags":
                    bags[start] = _put(bags[start], places, rows.bags[start].take(sources))
                else:
                    getattr(items, kind)[places, start:end] = getattr(rows, kind)[sources, start:end]
        return items._replace(bags=tuple(bags))

    def _embedded(self) -> list[str]:
        return [kind for _, kind, _, _ in self._places if kind != "numbers"]


def _kind(feature: FeatureSpec) -> tuple[str, int]:
    """In which array a feature is, and how wide."""
    if isinstance(feature, CategoricalListFeature):
        return "bags", 1
    if isinstance(feature, NumericFeature) and not feature.bucketized:
        return "numbers", 1 + feature.missing_indicator
    return "ids", 1


def _put(bag: Bag, places: Places, rows: Bag) -> Bag:
    order = np.arange(len(_offsets(bag)) - 1)
    order[places] = len(order) + np.arange(len(places))
    return Bag.concat([bag, rows]).take(order)


def _offsets(bag: Bag) -> Places:
    assert bag.offsets is not None  # bags of list features have them
    return bag.offsets
