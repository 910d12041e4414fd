"""What lower precision costs is measured on the order of rows as well as on their scores."""

from __future__ import annotations

import numpy as np
import pytest

from ranker.manifest import PrecisionCheck
from ranker.schema import Schema
from training.config import ExportConfig
from training.labels import OutputLabels
from training.precision_check import check_precision, largest_error, misses, top_k_overlap

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [{"name": "ctr", "label": "click"}, {"name": "spend", "label": "spend", "kind": "regression"}],
    }
)
NUM_ROWS = 1100


def check(noise: float) -> PrecisionCheck:
    """Of random outputs, and the same with noise."""
    random = np.random.default_rng(3)
    exact = {task: random.normal(size=NUM_ROWS) for task in SCHEMA.task_names}
    lowered = {task: values + noise * random.normal(size=NUM_ROWS) for task, values in exact.items()}
    clicks = (random.random(NUM_ROWS) < 1 / (1 + np.exp(-3 * exact["ctr"]))).astype(np.float64)
    labels = {task: OutputLabels(clicks, np.ones(NUM_ROWS, dtype=bool)) for task in SCHEMA.task_names}
    return check_precision(SCHEMA, exact, lowered, labels)


def test_the_same_outputs_cost_nothing() -> None:
    assert check(0.0) == PrecisionCheck(rows=NUM_ROWS, raw_error=0.0, score_error=0.0, top_k_overlap=1.0, auc_loss=0.0)


def test_more_noise_costs_more() -> None:
    little, much = check(1e-4), check(0.5)
    assert little.score_error < 1e-3 < 0.1 < much.score_error
    assert little.top_k_overlap > 0.97 > 0.8 > much.top_k_overlap
    assert little.auc_loss is not None
    assert much.auc_loss is not None
    assert abs(little.auc_loss) < 1e-4 < 0.01 < much.auc_loss


def test_without_both_labels_there_is_no_auc() -> None:
    exact = {task: np.arange(7.0) for task in SCHEMA.task_names}
    labels = {task: OutputLabels(np.zeros(7), np.ones(7, dtype=bool)) for task in SCHEMA.task_names}
    assert check_precision(SCHEMA, exact, exact, labels).auc_loss is None


def test_overlap_is_counted_within_groups() -> None:
    exact_N = np.arange(12.0)
    other_N = exact_N.copy()
    other_N[[4, 5]] = other_N[[5, 4]]  # within the second group, among its best two
    other_N[[6, 8]] = other_N[[8, 6]]  # across groups
    assert top_k_overlap(exact_N, exact_N, group=4, top=2) == 1.0
    assert top_k_overlap(exact_N, other_N, group=4, top=1) == pytest.approx(2 / 3)


def test_large_outputs_differ_relatively() -> None:
    assert largest_error(np.array([0.5, 100.0]), np.array([0.6, 101.0])) == pytest.approx(0.1)


def test_every_limit_is_named() -> None:
    costly = PrecisionCheck(rows=9, raw_error=0.5, score_error=0.5, top_k_overlap=0.5, auc_loss=0.5)
    found = misses(costly, ExportConfig())
    for limit in ("max_score_error", "min_top_k_overlap", "max_auc_loss"):
        assert limit in found
    assert misses(costly, ExportConfig(max_score_error=1, min_top_k_overlap=0, max_auc_loss=1)) == ""
