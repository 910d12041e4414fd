"""Encoded rows: as columns that rows are taken from, and as the tensors that a model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Shapes: B = rows, E = embedded features of the side, N = plain numeric inputs of the side

TableRows = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]
_NO_IDS = np.empty(0, np.int64)


class SideTensors(NamedTuple):
    """One side of B rows, as the model reads it.

    Attributes:
        ids: Table rows, int64, flat and feature-major: all rows of the first embedded feature, then of the second.
        lengths: How many of `ids` belong to each (feature, row), int64 [E * B].
        numeric_BN: Plain numeric inputs, float32; missing indicators follow their feature.
    """

    ids: Tensor
    lengths: Tensor
    numeric_BN: Tensor


class Encoded(NamedTuple):
    """Both sides of the same rows: what a request has once (user, context), and what belongs to the item."""

    request: SideTensors
    item: SideTensors


class Bag(NamedTuple):
    """Table rows of one embedded feature.

    Attributes:
        ids: All of them, one row after the other.
        offsets: Where in `ids` each row begins, and behind the last where it ends [B + 1]; None: one id in every row.
    """

    ids: TableRows
    offsets: Places | None = None

    @classmethod
    def of_lengths(cls, ids: TableRows, lengths: Places) -> Bag:
        """Rows that have `lengths` ids each."""
        return cls(ids, _offsets(lengths))

    @classmethod
    def concat(cls, parts: Sequence[Bag]) -> Bag:
        """The rows of all parts, one part after the other."""
        ids = np.concatenate([part.ids for part in parts])
        if all(part.offsets is None for part in parts):
            return cls(ids)
        return cls.of_lengths(ids, np.concatenate([part.lengths() for part in parts]))

    def take(self, places: Places) -> Bag:
        """The rows at `places`, in that order."""
        if self.offsets is None:
            return Bag(self.ids.take(places))
        starts = self.offsets.take(places)
        lengths = self.offsets.take(places + 1) - starts
        offsets = _offsets(lengths)
        return Bag(self.ids.take(np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)), offsets)

    def lengths(self) -> Places:
        """Ids of each row."""
        return np.ones(len(self.ids), np.int64) if self.offsets is None else np.diff(self.offsets)


class SideColumns(NamedTuple):
    """One side of B rows, feature by feature.

    Attributes:
        bags: Embedded features, in model order.
        numeric_BN: Plain numeric inputs, as in `SideTensors`.
    """

    bags: tuple[Bag, ...]
    numeric_BN: npt.NDArray[np.float32]

    @classmethod
    def concat(cls, parts: Sequence[SideColumns]) -> SideColumns:
        """The rows of all parts, one part after the other."""
        bags = tuple(Bag.concat(of_feature) for of_feature in zip(*(part.bags for part in parts), strict=True))
        return cls(bags, np.concatenate([part.numeric_BN for part in parts]))

    def take(self, places: Places) -> SideColumns:
        """The rows at `places`, in that order."""
        return SideColumns(tuple(bag.take(places) for bag in self.bags), self.numeric_BN.take(places, axis=0))

    def tensors(self) -> SideTensors:
        """The same rows as the model reads them."""
        lengths_EB = np.ones((len(self.bags), len(self.numeric_BN)), np.int64)
        for place, bag in enumerate(self.bags):
            if bag.offsets is not None:
                lengths_EB[place] = bag.lengths()
        return SideTensors(
            torch.from_numpy(np.concatenate([_NO_IDS, *(bag.ids for bag in self.bags)])),
            torch.from_numpy(lengths_EB.reshape(-1)),
            torch.from_numpy(self.numeric_BN),
        )


class EncodedColumns(NamedTuple):
    """Both sides of the same rows, feature by feature."""

    request: SideColumns
    item: SideColumns

    @classmethod
    def concat(cls, parts: Sequence[EncodedColumns]) -> EncodedColumns:
        """The rows of all parts, one part after the other."""
        return cls(SideColumns.concat([part.request for part in parts]), SideColumns.concat([p.item for p in parts]))

    def take(self, places: Places) -> EncodedColumns:
        """The rows at `places`, in that order."""
        return EncodedColumns(self.request.take(places), self.item.take(places))

    def tensors(self) -> Encoded:
        """The same rows as the model reads them."""
        return Encoded(self.request.tensors(), self.item.tensors())


def _offsets(lengths: Places) -> Places:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
