"""How good an epoch is: one number to choose the best by, and one per task for balances that look at progress."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.evaluation import EvaluationReport
from training.predictions import Predictions


def selection(report: EvaluationReport, predictions: Predictions, tasks: Sequence[str]) -> float:
    """Mean over the tasks of AUC (R2 for regressions); a task without both classes does not count."""
    found = quality(report, predictions)
    defined = [found[task] for task in tasks if task in found]
    return float(np.mean(defined)) if defined else 0.0


def kpis(report: EvaluationReport, predictions: Predictions) -> dict[str, float]:
    """What tasks have learnt: 2 AUC - 1 or R2, 0 where that is nothing, 1 where it is all there is."""
    found = quality(report, predictions)
    return {task: 2 * value - 1 if report[task].kind == "binary" else value for task, value in found.items()}


def quality(report: EvaluationReport, predictions: Predictions) -> dict[str, float]:
    """AUC of each task, R2 of regressions; without tasks that are all of one class or value."""
    values: dict[str, float] = {}
    for task in predictions.schema.task_names:
        found = report[task]
        if found.auc is not None:
            values[task] = found.auc
        elif found.mse is not None and (variance := predictions.label_variance(task)) > 0:
            values[task] = 1 - found.mse / variance
    return values
