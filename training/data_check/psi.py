"""The population stability index: how far apart two histograms are, and how far apart chance alone puts them.

B. Yurdakul, J. Naranjo, "Statistical Properties of the Population Stability Index", Journal of Risk Model Validation,
2020: between samples of n and m rows of one distribution the index is (1/n + 1/m) times a chi-squared variable of as
many degrees of freedom as there are cells less one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from training.data_check.histogram import Histogram, Ints, NumericHistogram, ValueHistogram

# Shapes: C = cells of a histogram

_PSEUDO_COUNT = 0.5  # in every cell: an empty one has a logarithm too


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a feature moved.

    Attributes:
        psi: The index less what chance adds to it on average; at least 0.
        chance: An index that chance reaches hardly ever: what a difference must exceed, on the scale of `psi`.
    """

    psi: float
    chance: float


def population_stability_index(expected_C: NDArray[Any], actual_C: NDArray[Any]) -> float:
    """The sum over cells of (q - p) log(q / p), p and q the shares of the two histograms.

    Half a row is added to every cell, so that an empty cell costs much, but not everything.

    Args:
        expected_C: Counts, at least 0, of the reference.
        actual_C: Counts of the same cells.

    Returns:
        At least 0, in nats, symmetric; 0 for equal counts. By custom below 0.1 is no change and above 0.25 a large one.

    Raises:
        ValueError: The shapes differ, or a count is negative.

    Example:
        >>> round(population_stability_index(np.array([500, 500]), np.array([700, 300])), 3)
        0.169
    """
    if expected_C.shape != actual_C.shape or expected_C.ndim != 1:
        raise ValueError(f"counts must be vectors of one length, got shapes {expected_C.shape} and {actual_C.shape}")
    if (expected_C < 0).any() or (actual_C < 0).any():
        raise ValueError("counts must be at least 0, got a negative one")
    p_C, q_C = (_shares(counts_C) for counts_C in (expected_C, actual_C))
    return float(((q_C - p_C) * np.log(q_C / p_C)).sum())


def drift(reference: Histogram, today: Histogram, num_bins: int, top_values: int, sigmas: float) -> Drift | None:
    """How far a feature moved since the reference.

    Args:
        reference: Gives the bins of a numeric feature.
        today: Of the same kind.
        num_bins: Of a numeric feature.
        top_values: Most frequent values, of either day, that have cells of their own.
        sigmas: How rare an index by chance has to be, as a normal deviate.

    Returns:
        None where a histogram is empty or the kinds differ.
    """
    cells = _common_cells(reference, today, num_bins, top_values)
    if cells is None or not (reference.total and today.total):
        return None
    expected_C, actual_C = cells
    used = (expected_C + actual_C) > 0
    freedom = max(int(used.sum()) - 1, 1)
    unit = reference.design_effect / reference.total + today.design_effect / today.total
    psi = population_stability_index(expected_C[used], actual_C[used])
    chance = float(stats.chi2.isf(stats.norm.sf(sigmas), freedom))
    return Drift(psi=max(0.0, psi - unit * freedom), chance=unit * (chance - freedom))


def _common_cells(reference: Histogram, today: Histogram, num_bins: int, top_values: int) -> tuple[Ints, Ints] | None:
    if isinstance(reference, NumericHistogram) and isinstance(today, NumericHistogram):
        edges = reference.edges(num_bins)
        return reference.cells(edges), today.cells(edges)
    if isinstance(reference, ValueHistogram) and isinstance(today, ValueHistogram):
        values = dict.fromkeys([*reference.frequent(top_values), *today.frequent(top_values)])
        return reference.cells(values), today.cells(values)
    return None


def _shares(counts_C: NDArray[Any]) -> NDArray[np.float64]:
    raised_C = counts_C + _PSEUDO_COUNT
    shares_C: NDArray[np.float64] = raised_C / raised_C.sum()
    return shares_C
