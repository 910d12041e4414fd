"""Lines over training steps: smooth ones, and labels at their ends in place of a legend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray


def end_labels(axes: Axes, ends: Sequence[tuple[float, str, str]], least_gap: float) -> None:
    """Labels at the right end of lines, moved apart so that none covers another.

    Args:
        axes: That the lines are in.
        ends: Height of each line's end, its label and its colour.
        least_gap: Between the heights of two labels.
    """
    ends = sorted(ends)
    heights = np.array([height for height, _, _ in ends])
    apart = heights.copy()
    for place in range(1, len(apart)):
        apart[place] = max(apart[place], apart[place - 1] + least_gap)
    for height, (_, text, colour) in zip(apart - np.mean(apart - heights), ends, strict=True):
        axes.annotate(text, (1.01, height), xycoords=("axes fraction", "data"), va="center", color=colour, fontsize=9)


def running_mean(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Mean over up to `reach` values on either side.

    Example:
        >>> running_mean(np.array([0.0, 3.0, 6.0, 9.0]), 1).tolist()
        [1.5, 3.0, 6.0, 7.5]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    place = np.arange(len(values))
    low, high = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(values))
    means: NDArray[np.float64] = (sums[high] - sums[low]) / (high - low)
    return means
