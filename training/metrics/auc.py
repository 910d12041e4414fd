"""Area under the ROC curve."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import paired_binary, run_starts


def auc(scores: NDArray[Any], labels: NDArray[Any]) -> float | None:
    """Probability that a random positive scores above a random negative; a tie counts one half.

    Exact for any ties: it is the Mann-Whitney statistic over average ranks, so only the order of the scores matters.

    Args:
        scores: One per row; any real value, infinities included.
        labels: 0 or 1.

    Returns:
        In [0, 1]; None when there is no positive or no negative.

    Raises:
        ValueError: Lengths differ, a NaN, or a label other than 0 and 1.

    Example:
        >>> auc(np.array([0.2, 0.2, 0.9]), np.array([1, 0, 1]))
        0.75
    """
    scores, positive = paired_binary(scores, labels)
    num_positives = int(positive.sum())
    num_negatives = len(positive) - num_positives
    if num_positives == 0 or num_negatives == 0:
        return None
    order = np.argsort(scores)
    starts = np.flatnonzero(run_starts(scores[order]))
    negatives_T = np.add.reduceat((~positive[order]).astype(np.float64), starts)  # T: runs of tied scores, ascending
    positives_T = np.add.reduceat(positive[order].astype(np.float64), starts)
    negatives_below_T = np.cumsum(negatives_T) - negatives_T
    wins = float(positives_T @ (negatives_below_T + negatives_T / 2))
    return wins / (num_positives * num_negatives)
