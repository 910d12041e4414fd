"""Metrics as column titles."""

from __future__ import annotations

_TITLES = {
    "auc": "AUC",
    "gauc": "GAUC",
    "log_loss": "log loss",
    "predicted_over_observed": "predicted / observed",
    "ece": "ECE",
    "mse": "MSE",
    "rmse": "RMSE",
}


def metric_title(metric: str) -> str:
    """Of a metric as evaluation and gate name it.

    Example:
        >>> metric_title("gauc"), metric_title("ndcg@10"), metric_title("log_loss")
        ('GAUC', 'NDCG@10', 'log loss')
    """
    return _TITLES.get(metric, metric.upper())
