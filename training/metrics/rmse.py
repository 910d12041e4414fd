"""Squared error of regression predictions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import paired


def mse(predictions: NDArray[Any], labels: NDArray[Any]) -> float | None:
    """Mean squared error, in squared units of the label; None when there are no rows.

    Raises:
        ValueError: Lengths differ, or a NaN.

    Example:
        >>> mse(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
        2.0
    """
    predictions, labels = paired(predictions, labels)
    return float(np.mean((predictions - labels) ** 2)) if len(labels) else None


def rmse(predictions: NDArray[Any], labels: NDArray[Any]) -> float | None:
    """Root of the mean squared error, in units of the label; None when there are no rows.

    Raises:
        ValueError: Lengths differ, or a NaN.

    Example:
        >>> rmse(np.array([3.0, 3.0]), np.array([1.0, 1.0]))
        2.0
    """
    error = mse(predictions, labels)
    return None if error is None else math.sqrt(error)
