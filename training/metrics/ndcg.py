"""Normalised discounted cumulative gain of the first k places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics.arrays import Floats, Ints, group_codes, paired, run_starts


@dataclass(frozen=True, slots=True)
class Ndcg:
    """An NDCG@k and what it stands on.

    Attributes:
        k: Places looked at.
        value: In [0, 1]; None when every request was skipped.
        num_requests: Requests that counted.
        num_skipped: Requests left out because no label in them is above 0.
    """

    k: int
    value: float | None
    num_requests: int
    num_skipped: int


def ndcg(scores: NDArray[Any], labels: NDArray[Any], requests: NDArray[Any], k: int) -> Ndcg:
    """Mean over requests of DCG@k divided by the best DCG@k, with gain = label and discount 1 / log2(place + 1).

    Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002.
    Places are those that serving would give: score descending, ties by the order of the rows.

    Args:
        scores: One per row; any real value.
        labels: Gains, at least 0. For 0/1 labels the exponential gain 2^label - 1 is the same.
        requests: One per row, of any type that can be compared; null: the row belongs to no request.
        k: Places looked at, at least 1.

    Raises:
        ValueError: Lengths differ, a NaN, a negative label, or `k` below 1.

    Note:
        scikit-learn's `ndcg_score` averages over ties; a server has to choose, so we score what it chooses.

    Example:
        >>> ndcg(np.array([0.9, 0.5]), np.array([0, 1]), np.array([7, 7]), k=2)
        Ndcg(k=2, value=0.6309297535714575, num_requests=1, num_skipped=0)
    """
    if k < 1:
        raise ValueError(f"`k` must be at least 1, got {k}")
    scores, labels = paired(scores, labels)
    if (labels < 0).any():
        row = int((labels < 0).argmax())
        raise ValueError(f"`labels` must be at least 0, got {labels[row]:g} in row {row}")
    requests_B, num_requests = group_codes(requests, len(scores))
    known = requests_B >= 0
    ndcg_R = ndcg_by_request(scores[known], labels[known], requests_B[known], num_requests, k)
    counts = ~np.isnan(ndcg_R)
    value = float(np.mean(ndcg_R[counts])) if counts.any() else None
    return Ndcg(k, value, int(counts.sum()), int(num_requests - counts.sum()))


def ndcg_by_request(scores: Floats, labels: Floats, requests: Ints, num_requests: int, k: int) -> Floats:
    """NDCG@k of each request.

    Args:
        scores: One per row; no NaN.
        labels: Gains, at least 0.
        requests: In 0..num_requests - 1.
        num_requests: R.
        k: Places looked at, at least 1.

    Returns:
        [R], in [0, 1]; NaN where no label of the request is above 0.
    """
    best_R = _dcg(labels, labels, requests, num_requests, k)
    dcg_R = _dcg(scores, labels, requests, num_requests, k)
    ndcg_R: Floats = np.divide(dcg_R, best_R, out=np.full(num_requests, np.nan), where=best_R > 0)
    return ndcg_R


def _dcg(scores: Floats, labels: Floats, requests: Ints, num_requests: int, k: int) -> Floats:
    if not len(scores):
        return np.zeros(num_requests)
    order = np.lexsort((-scores, requests))  # stable: tied rows keep their order
    requests, labels = requests[order], labels[order]
    starts = np.flatnonzero(run_starts(requests))
    place = np.arange(len(requests)) - np.repeat(starts, np.diff(starts, append=len(requests)))
    gain = np.where(place < k, labels / np.log2(place + 2), 0.0)
    return np.bincount(requests, weights=gain, minlength=num_requests).astype(np.float64)
