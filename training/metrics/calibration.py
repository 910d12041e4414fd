"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import paired_binary, run_starts


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


def reliability(probabilities: NDArray[Any], labels: NDArray[Any], num_bins: int = 20) -> Reliability:
    """Compare probabilities with outcomes, in all and in bins of equal numbers of rows.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015 (the ECE); bins of equal
    mass, since click probabilities crowd together and bins of equal width would be all but empty. Rows of one
    probability always share a bin, so the result does not depend on the order of the rows.

    Args:
        probabilities: One per row; in [0, 1] for probabilities, though any finite number compares.
        labels: 0 or 1.
        num_bins: At least 1.

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
    order = np.argsort(probabilities)
    probabilities, positive = probabilities[order], positive[order]
    starts = run_starts(probabilities)
    first_rank = np.flatnonzero(starts)[np.cumsum(starts) - 1]  # of the row's run of ties
    bins = np.flatnonzero(run_starts(first_rank * num_bins // num_rows))
    rows_N = np.diff(bins, append=num_rows)
    predicted_N = np.add.reduceat(probabilities, bins) / rows_N
    observed_N = np.add.reduceat(positive.astype(np.float64), bins) / rows_N
    num_positives = int(positive.sum())
    return Reliability(
        predicted_over_observed=float(probabilities.sum()) / num_positives if num_positives else None,
        ece=float(np.abs(predicted_N - observed_N) @ rows_N) / num_rows,
        bin_predicted=tuple(predicted_N.tolist()),
        bin_observed=tuple(observed_N.tolist()),
        bin_rows=tuple(rows_N.tolist()),
    )
