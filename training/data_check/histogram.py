"""Histograms that can be compared with those of another day, whose cells were not known when they were made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat

from ranker.schema import FrozenConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NUM_POINTS = 1_000  # of a numeric histogram: ranks are exact to a thousandth
MIN_CELL = 20  # sampled rows that a value needs for a cell of its own


class NumericHistogram(FrozenConfig):
    """Numbers as a staircase: `counts[i]` of them are at most `values[i]` and above the value before.

    Attributes:
        values: Ascending; all that there are, or some thousand in equal steps of rank.
        missing: Rows without a number.
        design_effect: Rows over this are as good as so many independent ones.
    """

    kind: Literal["numeric"] = "numeric"
    values: tuple[FiniteFloat, ...]
    counts: tuple[int, ...]
    missing: int = Field(ge=0)
    design_effect: float = Field(1.0, ge=1)

    @property
    def total(self) -> int:
        """All that was counted, the missing ones included."""
        return sum(self.counts) + self.missing

    @property
    def median(self) -> float | None:
        """Of the numbers; None if there are none."""
        if not self.counts:
            return None
        ranks = np.cumsum(self.counts)
        return self.values[int(np.searchsorted(ranks, ranks[-1] / 2))]

    def edges(self, num_bins: int) -> Floats:
        """Inner edges of bins of about equal counts; a value that fills a whole bin has one to itself."""
        if not self.counts:
            return np.empty(0)
        values, ranks = np.array(self.values), np.cumsum(self.counts)
        step = ranks[-1] / num_bins
        cuts = values[np.searchsorted(ranks, step * np.arange(1, num_bins))]
        heavy = values[np.array(self.counts) >= step]
        return np.unique(np.concatenate([cuts, heavy, np.nextafter(heavy, -np.inf)]))

    def cells(self, edges: Floats) -> Ints:
        """Counts of the bins that end at each edge, of what lies above the last, and of missing ones."""
        bins = np.searchsorted(edges, np.array(self.values, np.float64))
        counts = np.bincount(bins, weights=np.array(self.counts, np.float64), minlength=len(edges) + 1)
        return np.append(counts, self.missing).astype(np.int64)


class ValueHistogram(FrozenConfig):
    """Categorical values, counted by row; for lists, by element.

    Attributes:
        counts: The most frequent values, most frequent first.
        other: Rows of all other values.
        missing: Rows without a value; for lists, null lists.
        empty: Empty lists.
        design_effect: Rows over this are as good as so many independent ones.
    """

    kind: Literal["values"] = "values"
    counts: dict[str, int]
    other: int = Field(ge=0)
    missing: int = Field(ge=0)
    empty: int = Field(0, ge=0)
    design_effect: float = Field(1.0, ge=1)

    @property
    def total(self) -> int:
        """All that was counted, missing and empty ones included."""
        return sum(self.counts.values()) + self.other + self.missing + self.empty

    def frequent(self, num_values: int) -> tuple[str, ...]:
        """The most frequent values, as far as they were seen often enough to be told from chance."""
        return tuple(value for value, count in self.counts.items() if count >= MIN_CELL)[:num_values]

    def cells(self, values: Iterable[str]) -> Ints:
        """Counts of the given values, of all others, of missing and of empty ones."""
        named = [self.counts.get(value, 0) for value in values]
        rest = sum(self.counts.values()) - sum(named) + self.other
        return np.array([*named, rest, self.missing, self.empty], np.int64)


Histogram: TypeAlias = Annotated[NumericHistogram | ValueHistogram, Field(discriminator="kind")]


def numeric_histogram(numbers: NDArray[Any], design_effect: float = 1.0) -> NumericHistogram:
    """The histogram of some numbers; NaN is missing.

    Example:
        >>> numeric_histogram(np.array([3.0, 1.0, np.nan, 3.0])).counts
        (1, 2)
    """
    present = numbers[~np.isnan(numbers)]
    values, counts = np.unique(present, return_counts=True)
    if len(values) > NUM_POINTS:
        ranks = np.cumsum(counts)
        wanted = np.linspace(0, ranks[-1], NUM_POINTS + 1)[1:]
        ends = np.unique(np.searchsorted(ranks, wanted))
        values, counts = values[ends], np.diff(ranks[ends], prepend=0)
    return NumericHistogram(
        values=tuple(values.tolist()),
        counts=tuple(counts.tolist()),
        missing=len(numbers) - len(present),
        design_effect=design_effect,
    )
