"""The metrics of one output by one model, prepared for resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.gate.config import Metric
from training.gate.observed import Clusters, Observed
from training.gate.statistics import Ratio, RootRatio, Statistic, WeightedAuc, WeightedEce
from training.metrics.arrays import Floats, Ints, group_codes
from training.metrics.gauc import auc_by_group
from training.metrics.log_loss import row_log_loss
from training.metrics.ndcg import ndcg_by_request

# Shapes: N = rows, n = rows on which the output is defined, C = clusters, R = requests

HIGHER_IS_BETTER: frozenset[Metric] = frozenset({"auc", "gauc", "ndcg"})


@dataclass(frozen=True, slots=True)
class Quality:
    """One metric of one model.

    Attributes:
        metric: Which.
        name: The same with its place, as `ndcg@10`.
        statistic: From weights of clusters to its value.
        support: Users or requests that count in a mean over them; None for metrics of all rows.
    """

    metric: Metric
    name: str
    statistic: Statistic
    support: int | None = None


def goodness(metric: Metric, values: Floats) -> Floats:
    """Values of a metric so that higher is better: errors negated, a ratio by its distance from 1."""
    if metric in HIGHER_IS_BETTER:
        return values
    return -np.abs(values - 1.0) if metric == "predicted_over_observed" else -values


def probability_qualities(scores_N: NDArray[Any], seen: Observed, clusters: Clusters) -> list[Quality]:
    """The metrics of a binary output; GAUC where users are known.

    Raises:
        ValueError: A score is no probability.
    """
    scores_n = np.asarray(scores_N, np.float64)[seen.mask_N]
    loss_C = _sums(seen, clusters, row_log_loss(scores_n, seen.labels_n) * seen.row_weights_n)
    rows_C = _sums(seen, clusters, seen.row_weights_n)
    predicted_C = _sums(seen, clusters, scores_n * seen.row_weights_n)
    observed_C = _sums(seen, clusters, seen.labels_n * seen.row_weights_n)
    ece = WeightedEce(scores_n, seen.labels_n, seen.row_weights_n, seen.clusters_n, clusters.count)
    return [
        Quality("auc", "auc", WeightedAuc(scores_n, seen.labels_n, seen.clusters_n)),
        *([_gauc(scores_n, seen, clusters)] if clusters.unit == "users" else []),
        Quality("log_loss", "log_loss", Ratio(loss_C, rows_C)),
        Quality("predicted_over_observed", "predicted_over_observed", Ratio(predicted_C, observed_C)),
        Quality("ece", "ece", ece),
    ]


def regression_qualities(values_N: NDArray[Any], seen: Observed, clusters: Clusters) -> list[Quality]:
    """The RMSE of a regression."""
    squares_n = np.square(np.asarray(values_N, np.float64)[seen.mask_N] - seen.labels_n)
    rows_C = _sums(seen, clusters, np.ones_like(squares_n))
    return [Quality("rmse", "rmse", RootRatio(_sums(seen, clusters, squares_n), rows_C))]


def ranking_quality(fused_N: NDArray[Any], seen: Observed, clusters: Clusters, k: int) -> Quality:
    """NDCG@k of the fused score, by the labels of one output. A request of several users counts with its first row's.

    Args:
        fused_N: The score that serving ranks by.
        seen: What was observed of the output; its requests are known.
        clusters: What is resampled.
        k: Places looked at.
    """
    assert seen.requests_n is not None  # asked before
    in_request_n = seen.requests_n >= 0
    fused_n = np.asarray(fused_N, np.float64)[seen.mask_N][in_request_n]
    codes_n, num_requests = group_codes(seen.requests_n[in_request_n], len(fused_n))
    ndcg_R = ndcg_by_request(fused_n, seen.labels_n[in_request_n], codes_n, num_requests, k)
    first_R = np.unique(codes_n, return_index=True)[1]
    cluster_R: Ints = seen.clusters_n[in_request_n][first_R]
    counts_R = ~np.isnan(ndcg_R)
    statistic = Ratio(
        np.bincount(cluster_R[counts_R], ndcg_R[counts_R], clusters.count).astype(np.float64),
        np.bincount(cluster_R[counts_R], minlength=clusters.count).astype(np.float64),
    )
    return Quality("ndcg", f"ndcg@{k}", statistic, int(counts_R.sum()))


def _gauc(scores_n: Floats, seen: Observed, clusters: Clusters) -> Quality:
    auc_C, rows_C = auc_by_group(scores_n, seen.labels_n, seen.clusters_n, clusters.count)
    counts_C = ~np.isnan(auc_C)
    weight_C = np.where(counts_C, rows_C, 0.0)
    return Quality("gauc", "gauc", Ratio(np.nan_to_num(auc_C) * weight_C, weight_C), int(counts_C.sum()))


def _sums(seen: Observed, clusters: Clusters, values_n: Floats) -> Floats:
    return np.bincount(seen.clusters_n, weights=values_n, minlength=clusters.count).astype(np.float64, copy=False)
