"""What every metric asks of its arrays: equal lengths, no NaN, labels 0 or 1; and groups as small integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def paired(predictions: NDArray[Any], labels: NDArray[Any]) -> tuple[Floats, Floats]:
    """Both as float64 vectors.

    Raises:
        ValueError: Not two vectors of one length, or a NaN among them: drop rows without a label first.
    """
    predictions, labels = np.asarray(predictions, np.float64), np.asarray(labels, np.float64)
    if predictions.ndim != 1 or predictions.shape != labels.shape:
        raise ValueError(
            "`predictions` and `labels` must be vectors of one length, "
            f"got shapes {predictions.shape} and {labels.shape}"
        )
    for name, values in (("predictions", predictions), ("labels", labels)):
        if np.isnan(values).any():
            raise ValueError(f"`{name}` must not hold NaN, got one in row {int(np.isnan(values).argmax())}")
    return predictions, labels


def paired_binary(predictions: NDArray[Any], labels: NDArray[Any]) -> tuple[Floats, Bools]:
    """As `paired`, the labels as booleans.

    Raises:
        ValueError: As `paired`, or a label other than 0 and 1.
    """
    predictions, labels = paired(predictions, labels)
    if (wrong := (labels != 0) & (labels != 1)).any():
        row = int(wrong.argmax())
        raise ValueError(f"`labels` must be 0 or 1, got {labels[row]:g} in row {row}")
    return predictions, labels == 1


def group_codes(groups: NDArray[Any], num_rows: int, *, ordered: bool = False) -> tuple[Ints, int]:
    """Groups as 0..n-1 in order of first appearance, -1 where null; and how many there are.

    Args:
        groups: One per row, of any type that can be compared.
        num_rows: How many there have to be.
        ordered: Number them in their own order instead, so that the numbers do not depend on the order of the rows.

    Raises:
        ValueError: Not one group per row.
    """
    if len(groups) != num_rows:
        raise ValueError(f"`groups` must have one value per row ({num_rows}), got {len(groups)}")
    codes, values = pd.factorize(np.asarray(groups), sort=ordered)
    return codes.astype(np.int64), len(values)


def run_starts(*keys: NDArray[Any]) -> Bools:
    """True where a row of sorted, equally long, non-empty `keys` differs from the row before it; the first row too."""
    changes = [key[1:] != key[:-1] for key in keys]
    return np.concatenate([[True], np.logical_or.reduce(changes)])
