"""How good a ranking model is: one metric per file, numpy only, no loop over rows or users.

    >>> import numpy as np
    >>> auc(np.array([0.1, 0.4, 0.8]), np.array([0, 0, 1]))
    1.0

A metric that the data cannot answer (an AUC of one class, an NDCG without positives) is None, never a made-up number.
"""

from training.metrics.auc import auc
from training.metrics.binned_auc import BinnedAuc
from training.metrics.calibration import Reliability, reliability
from training.metrics.gauc import Gauc, gauc
from training.metrics.log_loss import log_loss
from training.metrics.ndcg import Ndcg, ndcg
from training.metrics.rmse import mse, rmse

__all__ = [
    "BinnedAuc",
    "Gauc",
    "Ndcg",
    "Reliability",
    "auc",
    "gauc",
    "log_loss",
    "mse",
    "ndcg",
    "reliability",
    "rmse",
]
