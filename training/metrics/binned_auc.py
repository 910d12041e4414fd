"""AUC in constant memory, for logs that are larger than memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import paired_binary

# Bins are equally wide in log odds, so small probabilities, which is where rankings live, are told apart as well.
NUM_BINS = 1 << 16
LARGEST_LOG_ODDS = 16.0


class BinnedAuc:
    """AUC of probabilities, added batch by batch. Scores of one bin (0.0005 wide in log odds) count as tied.

    Example:
        >>> binned = BinnedAuc()
        >>> binned.add(np.array([0.1, 0.4]), np.array([0, 1]))
        >>> binned.add(np.array([0.3]), np.array([0]))
        >>> binned.value()
        1.0
    """

    def __init__(self) -> None:
        self._negatives = np.zeros(NUM_BINS, np.int64)
        self._positives = np.zeros(NUM_BINS, np.int64)

    def add(self, probabilities: NDArray[Any], labels: NDArray[Any]) -> None:
        """Count one batch.

        Args:
            probabilities: In [0, 1].
            labels: 0 or 1.

        Raises:
            ValueError: Lengths differ, a NaN, a label other than 0 and 1, or a probability outside [0, 1].
        """
        probabilities, positive = paired_binary(probabilities, labels)
        if (wrong := (probabilities < 0) | (probabilities > 1)).any():
            row = int(wrong.argmax())
            raise ValueError(f"`probabilities` must be in [0, 1], got {probabilities[row]:g} in row {row}")
        with np.errstate(divide="ignore"):  # 0 and 1 have infinite log odds and belong in the outermost bins
            log_odds = np.log(probabilities) - np.log1p(-probabilities)
        position = (np.clip(log_odds, -LARGEST_LOG_ODDS, LARGEST_LOG_ODDS) / LARGEST_LOG_ODDS + 1) / 2
        bins = np.minimum((position * NUM_BINS).astype(np.int64), NUM_BINS - 1)
        self._negatives += np.bincount(bins[~positive], minlength=NUM_BINS)
        self._positives += np.bincount(bins[positive], minlength=NUM_BINS)

    def merge(self, other: BinnedAuc) -> None:
        """Count all that `other` has counted."""
        self._negatives += other._negatives
        self._positives += other._positives

    def value(self) -> float | None:
        """The AUC of all rows so far; None when there is no positive or no negative."""
        pairs = int(self._positives.sum()) * int(self._negatives.sum())
        if pairs == 0:
            return None
        negatives_below = np.cumsum(self._negatives) - self._negatives
        return float(self._positives @ (negatives_below + self._negatives / 2)) / pairs
