"""Metrics as functions of how much each cluster of rows weighs: prepared once, then cheap for every resample.

At unit weights each equals its namesake in `training.metrics`. An AUC sorts its rows once and walks them for every
resample; all others are sums within clusters, so that a resample costs a product of vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from training.metrics.arrays import Floats, Ints, paired_binary
from training.metrics.calibration import NUM_BINS, equal_mass_bins

# Shapes: N = rows, C = clusters, P = positives, M = negatives, J = bins

Statistic = Callable[[Floats], float]
"""From the weights [C] of clusters to the metric; NaN where it is undefined under them."""


class WeightedAuc:
    """AUC of rows that weigh what their cluster weighs; exact for any ties.

    Args:
        scores_N: Any real value.
        labels_N: 0 or 1.
        clusters_N: Cluster of each row.

    Example:
        >>> found = WeightedAuc(np.array([0.1, 0.4, 0.8]), np.array([0, 1, 0]), np.array([0, 1, 2]))
        >>> found(np.array([1.0, 1.0, 1.0])), found(np.array([3.0, 1.0, 1.0]))
        (0.5, 0.75)
    """

    def __init__(self, scores_N: NDArray[Any], labels_N: NDArray[Any], clusters_N: Ints) -> None:
        scores_N, positive_N = paired_binary(scores_N, labels_N)
        order_N = np.argsort(scores_N)
        scores_N, positive_N, clusters_N = scores_N[order_N], positive_N[order_N], clusters_N[order_N]
        negatives_M = scores_N[~positive_N]
        self._negatives_M, self._positives_P = clusters_N[~positive_N], clusters_N[positive_N]
        self._below_P = np.searchsorted(negatives_M, scores_N[positive_N], side="left")
        self._not_above_P = np.searchsorted(negatives_M, scores_N[positive_N], side="right")
        self._cumulative = np.zeros(len(negatives_M) + 1)  # weight of the first m negatives, written anew by each call

    def __call__(self, weights_C: Floats) -> float:
        """The AUC under these weights."""
        np.cumsum(weights_C[self._negatives_M], out=self._cumulative[1:])
        weights_P = weights_C[self._positives_P]
        pairs = float(weights_P.sum() * self._cumulative[-1])
        if pairs == 0:
            return float("nan")
        wins_P = self._cumulative[self._below_P] + self._cumulative[self._not_above_P]
        return float(weights_P @ wins_P) / (2 * pairs)


class Ratio:
    """A sum over clusters divided by another, as every mean over rows, users or requests is.

    Args:
        numerator_C, denominator_C: Contributions of each cluster.
    """

    def __init__(self, numerator_C: Floats, denominator_C: Floats) -> None:
        self._numerator_C, self._denominator_C = numerator_C, denominator_C

    def __call__(self, weights_C: Floats) -> float:
        """The ratio under these weights."""
        denominator = float(weights_C @ self._denominator_C)
        return float(weights_C @ self._numerator_C) / denominator if denominator else float("nan")


class RootRatio(Ratio):
    """The square root of a ratio, as an RMSE is."""

    def __call__(self, weights_C: Floats) -> float:
        """The root under these weights."""
        return float(np.sqrt(super().__call__(weights_C)))


class WeightedEce:
    """Expected calibration error.

    Args:
        probabilities_N: In [0, 1].
        labels_N: 0 or 1.
        row_weights_N: Rows of the full log that each row stands for.
        clusters_N: Cluster of each row.
        num_clusters: C.

    Note:
        Bins are those of the rows as they are, for every resample.
    """

    def __init__(
        self,
        probabilities_N: NDArray[Any],
        labels_N: NDArray[Any],
        row_weights_N: Floats,
        clusters_N: Ints,
        num_clusters: int,
    ) -> None:
        bins_N = equal_mass_bins(probabilities_N, NUM_BINS)
        shape = (int(bins_N.max()) + 1, num_clusters)
        excess_N = row_weights_N * (probabilities_N - labels_N)
        self._excess_JC = csr_matrix((excess_N, (bins_N, clusters_N)), shape=shape)
        self._rows_C = np.bincount(clusters_N, weights=row_weights_N, minlength=num_clusters)

    def __call__(self, weights_C: Floats) -> float:
        """The ECE under these weights."""
        rows = float(weights_C @ self._rows_C)
        return float(np.abs(self._excess_JC @ weights_C).sum()) / rows if rows else float("nan")
