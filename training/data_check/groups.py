"""Standard errors of rows that are not independent: those of one user, or of one request, are alike.

Whole users are dealt at random into a few groups; how much the groups differ shows how much chance alone does. This is
the method of random groups, Wolter, "Introduction to Variance Estimation", 2nd ed., 2007, chapter 2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ranker.schema import Ids
from training.data_check.hashes import column_hashes

NUM_GROUPS = 32

# Shapes: G = groups, C = cells of a histogram, R = rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def row_groups(rows: pa.Table | pa.RecordBatch, ids: Ids, first_row: int = 0) -> Ints:
    """The group of each row: by user, else by request, else dealt out one by one.

    Args:
        rows: With the id columns that the schema names.
        ids: Names the columns.
        first_row: Number of the first row, where there are no ids.

    Returns:
        int64 [R] in [0, NUM_GROUPS).
    """
    column = ids.user or ids.request
    if column is None:
        return np.arange(first_row, first_row + rows.num_rows, dtype=np.int64) % NUM_GROUPS
    array = rows.column(column)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return (column_hashes(column, array) % np.uint64(NUM_GROUPS)).astype(np.int64)


def rate_error(sums_G: NDArray[Any], rows_G: NDArray[Any]) -> float:
    """Standard error of sum / rows, from the sums and rows of each group.

    Returns:
        At least 0; 0 where there are no rows.

    Example:
        >>> rate_error(np.array([10, 10]), np.array([100, 100])), rate_error(np.array([0, 20]), np.array([100, 100]))
        (0.0, 0.1)
    """
    total = float(rows_G.sum())
    if not total:
        return 0.0
    residual_G = sums_G - rows_G * (float(sums_G.sum()) / total)
    variance = np.square(residual_G).sum() * len(rows_G) / (len(rows_G) - 1)
    return float(np.sqrt(variance)) / total


def design_effect(counts_GC: NDArray[Any]) -> float:
    """By how much a histogram scatters more than one of independent rows.

    The chi-squared statistic of groups by cells over its degrees of freedom: Rao and Scott, "On Chi-squared Tests for
    Multiway Contingency Tables", 1984.

    Returns:
        At least 1: rows over this are as good as so many independent ones.
    """
    counts_GC = counts_GC[counts_GC.sum(axis=1) > 0][:, counts_GC.sum(axis=0) > 0]
    freedom = (counts_GC.shape[0] - 1) * (counts_GC.shape[1] - 1)
    if freedom <= 0:
        return 1.0
    expected_GC = np.outer(counts_GC.sum(axis=1), counts_GC.sum(axis=0)) / counts_GC.sum()
    chi_squared: float = (np.square(counts_GC - expected_GC) / expected_GC).sum()
    return float(max(1.0, chi_squared / freedom))
