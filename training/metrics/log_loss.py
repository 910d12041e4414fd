"""Log loss of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import Floats, paired_binary

SMALLEST = float(np.finfo(np.float64).eps)


def log_loss(
    probabilities: NDArray[Any], labels: NDArray[Any], weights: NDArray[np.float64] | None = None
) -> float | None:
    """Mean negative log likelihood of the labels.

    Args:
        probabilities: In [0, 1]; clipped 2.2e-16 away from both ends, so that one sure mistake costs 36 nats.
        labels: 0 or 1.
        weights: How many rows each one stands for, above 0; None: each for itself.

    Returns:
        In nats per row; None when there are no rows.

    Raises:
        ValueError: Lengths differ, a NaN, a label other than 0 and 1, or a probability outside [0, 1].

    Example:
        >>> round(log_loss(np.array([0.5, 0.5]), np.array([0, 1])), 4)
        0.6931
    """
    losses = row_log_loss(probabilities, labels)
    return float(np.average(losses, weights=weights)) if len(losses) else None


def row_log_loss(probabilities: NDArray[Any], labels: NDArray[Any]) -> Floats:
    """Negative log likelihood of each label, in nats; arguments and errors as `log_loss`."""
    probabilities, positive = paired_binary(probabilities, labels)
    if (wrong := (probabilities < 0) | (probabilities > 1)).any():
        row = int(wrong.argmax())
        raise ValueError(f"`probabilities` must be in [0, 1], got {probabilities[row]:g} in row {row}")
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    return -np.where(positive, np.log(clipped), np.log1p(-clipped))
