"""Group AUC: how well rows are ordered within each user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import Floats, Ints, group_codes, paired_binary, run_starts


@dataclass(frozen=True, slots=True)
class Gauc:
    """A group AUC and what it stands on.

    Attributes:
        value: In [0, 1]; None when every user was skipped.
        num_users: Users that counted.
        num_skipped: Users left out because all their labels are equal.
        num_rows: Rows of the users that counted; rows of null users never count.
    """

    value: float | None
    num_users: int
    num_skipped: int
    num_rows: int


def gauc(scores: NDArray[Any], labels: NDArray[Any], users: NDArray[Any]) -> Gauc:
    """Mean of the users' own AUCs, each weighted by the user's number of impressions.

    Zhu et al., "Optimized Cost per Click in Taobao Display Advertising", KDD 2017, https://arxiv.org/abs/1703.02091.
    A user with labels of one class only has no AUC; such users are skipped and counted.

    Args:
        scores: One per row; any real value.
        labels: 0 or 1.
        users: One per row, of any type that can be compared; null: the row belongs to nobody.

    Raises:
        ValueError: Lengths differ, a NaN, or a label other than 0 and 1.

    Example:
        >>> gauc(np.array([0.1, 0.9, 0.5, 0.4]), np.array([0, 1, 1, 1]), np.array(["a", "a", "b", "b"]))
        Gauc(value=1.0, num_users=1, num_skipped=1, num_rows=2)
    """
    scores, positive = paired_binary(scores, labels)
    users_B, num_users = group_codes(users, len(scores))
    known = users_B >= 0
    if not known.any():
        return Gauc(None, 0, 0, 0)
    auc_U, rows_U = auc_by_group(scores[known], positive[known].astype(np.float64), users_B[known], num_users)
    counts = ~np.isnan(auc_U)
    num_rows = int(rows_U[counts].sum())
    value = float(auc_U[counts] @ rows_U[counts]) / num_rows if num_rows else None
    return Gauc(value, int(counts.sum()), int(num_users - counts.sum()), num_rows)


def auc_by_group(scores: Floats, positives: Floats, groups: Ints, num_groups: int) -> tuple[Floats, Ints]:
    """AUC and number of rows of each group.

    Args:
        scores: One per row, at least one row; no NaN.
        positives: 0 or 1.
        groups: In 0..num_groups - 1.
        num_groups: U.

    Returns:
        AUC [U], NaN where all labels of the group are equal or it has no row; rows [U].
    """
    order = np.lexsort((scores, groups))
    groups, positives = groups[order], positives[order]
    starts = np.flatnonzero(run_starts(groups, scores[order]))
    group_T = groups[starts]  # T: runs of tied scores within a group
    positives_T = np.add.reduceat(positives, starts)
    negatives_T = np.add.reduceat(1 - positives, starts)
    rows_U = np.bincount(groups, minlength=num_groups)
    positives_U = np.bincount(groups, weights=positives, minlength=num_groups)
    negatives_U = rows_U - positives_U
    # Groups are sorted, so negatives of earlier groups are a prefix; taking it off leaves those of the own group.
    earlier_U = np.cumsum(negatives_U) - negatives_U
    negatives_below_T = np.cumsum(negatives_T) - negatives_T - earlier_U[group_T]
    wins_U = np.bincount(group_T, weights=positives_T * (negatives_below_T + negatives_T / 2), minlength=num_groups)
    pairs_U = positives_U * negatives_U
    return np.divide(wins_U, pairs_U, out=np.full(num_groups, np.nan), where=pairs_U > 0), rows_U.astype(np.int64)
