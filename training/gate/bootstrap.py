"""The cluster bootstrap: how metrics scatter over samples of users, and intervals that hold for all of them at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from training.gate.statistics import Statistic
from training.metrics.arrays import Floats

# Shapes: C = clusters, R = resamples, S = statistics

_SMALLEST_ERROR = 1e-12  # below it a figure does not scatter: what is left is rounding


def resampled_weights(num_clusters: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each cluster occurs in samples of as many clusters, drawn with replacement.

    Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979; whole clusters are drawn
    because rows of one user are alike (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, 3.8).

    Args:
        num_clusters: C, at least 1.
        resamples: R.
        seed: The draws depend on it and on C alone.

    Yields:
        Weights [C], whole numbers that add up to C.
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn_C = random.integers(0, num_clusters, num_clusters)
        yield np.bincount(drawn_C, minlength=num_clusters).astype(np.float64)


def replicates(statistics: Sequence[Statistic], num_clusters: int, resamples: int, seed: int) -> Floats:
    """Every statistic on the same resamples [R, S], so that differences between columns are paired."""
    weights = resampled_weights(num_clusters, resamples, seed)
    return np.array([[statistic(weights_C) for statistic in statistics] for weights_C in weights])


def simultaneous_intervals(estimates_S: Floats, replicates_RS: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Intervals around estimates that all hold at once with the given confidence.

    The studentised bootstrap of the largest deviation (max-T): Westfall and Young, "Resampling-Based Multiple Testing",
    1993. All columns come from the same resamples, so metrics that move together cost little.

    Args:
        estimates_S: The statistics of the data themselves.
        replicates_RS: Those of the resamples; NaN where undefined, which is left out.
        confidence: In (0, 1).

    Returns:
        Low and high ends [S]. A statistic that does not scatter has an interval of width 0.

    Example:
        >>> low, high = simultaneous_intervals(np.array([0.0]), np.linspace(-1, 1, 2001)[:, None], 0.9)
        >>> round(float(low[0]), 2), round(float(high[0]), 2)
        (-0.9, 0.9)
    """
    errors_S = np.nanstd(replicates_RS, axis=0)
    scatters_S = errors_S > _SMALLEST_ERROR
    if not scatters_S.any():
        return estimates_S, estimates_S
    centered_RS = replicates_RS[:, scatters_S] - np.nanmean(replicates_RS[:, scatters_S], axis=0)
    largest_R = np.nan_to_num(np.abs(centered_RS) / errors_S[scatters_S]).max(axis=1)
    reach_S = np.where(scatters_S, float(np.quantile(largest_R, confidence)) * errors_S, 0.0)
    return estimates_S - reach_S, estimates_S + reach_S
