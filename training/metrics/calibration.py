"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import Floats, Ints, paired_binary, run_starts

# Shapes: B = rows, N = bins

NUM_BINS = 20


@dataclass(frozen=True, slots=True)
class Reliability:
    """How predicted probabilities compare with what was observed.

    Attributes:
        predicted_over_observed: Sum of probabilities over number of positives, 1 is perfect; None without positives.
        ece: Expected calibration error: mean over rows of |mean predicted - mean observed| of the row's bin, in [0, 1];
            None without rows.
        bin_predicted: Mean probability of each non-empty bin, ascending.
        bin_observed: Share of positives of each non-empty bin.
        bin_rows: Rows of each non-empty bin.
    """

    predicted_over_observed: float | None
    ece: float | None
    bin_predicted: tuple[float, ...]
    bin_observed: tuple[float, ...]
    bin_rows: tuple[int, ...]


def reliability(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    num_bins: int = NUM_BINS,
    weights: NDArray[np.float64] | None = None,
) -> Reliability:
    """Compare probabilities with outcomes, in all and in bins of equal numbers of rows.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015 (the ECE); bins of equal
    mass, since click probabilities crowd together and bins of equal width would be all but empty. Rows of one
    probability always share a bin, so the result does not depend on the order of the rows.

    Args:
        probabilities: One per row; in [0, 1] for probabilities, though any finite number compares.
        labels: 0 or 1.
        num_bins: At least 1.
        weights: How many rows each one stands for, above 0, in all means; bins keep equal numbers of rows. None: each
            for itself.

    Raises:
        ValueError: Lengths differ, a NaN, a label other than 0 and 1, or `num_bins` below 1.

    Example:
        >>> found = reliability(np.array([0.25, 0.25, 0.25, 0.25]), np.array([0, 0, 1, 0]))
        >>> found.predicted_over_observed, found.ece
        (1.0, 0.0)
    """
    if num_bins < 1:
        raise ValueError(f"`num_bins` must be at least 1, got {num_bins}")
    probabilities, positive = paired_binary(probabilities, labels)
    num_rows = len(probabilities)
    if num_rows == 0:
        return Reliability(None, None, (), (), ())
    weights = np.ones(num_rows) if weights is None else np.asarray(weights, np.float64)
    bins_B = equal_mass_bins(probabilities, num_bins)
    weight_N, predicted_N, observed_N = (
        np.bincount(bins_B, weights=values_B) for values_B in (weights, weights * probabilities, weights * positive)
    )
    rows_N = np.bincount(bins_B)
    num_positives = float(observed_N.sum())
    return Reliability(
        predicted_over_observed=float(predicted_N.sum()) / num_positives if num_positives else None,
        ece=float(np.abs(predicted_N - observed_N).sum()) / float(weight_N.sum()),
        bin_predicted=tuple((predicted_N / weight_N).tolist()),
        bin_observed=tuple((observed_N / weight_N).tolist()),
        bin_rows=tuple(rows_N.tolist()),
    )


def equal_mass_bins(values_B: Floats, num_bins: int) -> Ints:
    """Bin of each row, counted from 0 without gaps, ascending in the values, of about equal numbers of rows.

    Args:
        values_B: At least one, no NaN; equal values share a bin.
        num_bins: At least 1; there may be fewer where many values are equal.
    """
    order_B = np.argsort(values_B)
    starts_B = run_starts(values_B[order_B])
    first_rank_B = np.flatnonzero(starts_B)[np.cumsum(starts_B) - 1]  # of the row's run of ties
    bins_B = np.empty(len(values_B), np.int64)
    bins_B[order_B] = np.cumsum(run_starts(first_rank_B * num_bins // len(values_B))) - 1
    return bins_B
