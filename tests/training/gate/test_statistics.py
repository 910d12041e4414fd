"""Weighted metrics: those of `training.metrics` at unit weights, and those of repeated rows at whole weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ranker.schema import Schema
from training.gate.config import GateConfig
from training.gate.observed import Clusters, Observed, observe
from training.gate.quality import goodness, probability_qualities, ranking_quality, regression_qualities
from training.gate.scores import JudgedRows
from training.gate.statistics import WeightedAuc
from training.metrics import auc, gauc, log_loss, ndcg, reliability, rmse

SCHEMA = Schema.model_validate(
    {
        "ids": {"user": "user", "request": "request"},
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [{"name": "ctr", "label": "click"}, {"name": "spend", "label": "spend", "kind": "regression"}],
    }
)
NUM_ROWS, NUM_REQUESTS, NUM_USERS = 411, 83, 29


class Case:
    """Rows with ties, null labels and null users, and scores for them."""

    def __init__(self, seed: int = 3) -> None:
        random = np.random.default_rng(seed)
        request = np.sort(random.integers(0, NUM_REQUESTS, NUM_ROWS))
        user = random.integers(0, NUM_USERS, NUM_REQUESTS)[request].astype(float)
        user[5] = np.nan
        self.scores = random.integers(1, 40, NUM_ROWS) / 41
        click = (random.random(NUM_ROWS) < self.scores).astype(float)
        click[random.random(NUM_ROWS) < 0.1] = np.nan
        self.rows = JudgedRows({"click": click, "spend": random.normal(size=NUM_ROWS)}, user, request)

    def seen(self, output: str = "ctr") -> tuple[Clusters, Observed]:
        clusters, observed = observe(SCHEMA, self.rows)
        return clusters, observed[output]


def test_unit_weights_give_the_metrics_of_the_evaluation() -> None:
    case = Case()
    assert case.rows.user_ids is not None
    assert case.rows.request_ids is not None
    clusters, seen = case.seen()
    known = np.unique(case.rows.user_ids[~np.isnan(case.rows.user_ids)])
    assert (clusters.unit, clusters.count) == ("users", len(known) + 1)  # the null user's row is by itself
    unit = np.ones(clusters.count)
    scores, labels = case.scores[seen.mask_N], seen.labels_n
    reliable = reliability(scores, labels)
    expected = {
        "auc": auc(scores, labels),
        "gauc": gauc(scores, labels, case.rows.user_ids[seen.mask_N]).value,
        "log_loss": log_loss(scores, labels),
        "predicted_over_observed": reliable.predicted_over_observed,
        "ece": reliable.ece,
    }
    found = {quality.name: quality.statistic(unit) for quality in probability_qualities(case.scores, seen, clusters)}
    assert found == pytest.approx(expected)
    for k in (1, 3):
        ranked = ranking_quality(case.scores, seen, clusters, k)
        by_request = ndcg(scores, labels, case.rows.request_ids[seen.mask_N], k)
        assert (ranked.name, ranked.support) == (f"ndcg@{k}", by_request.num_requests)
        assert ranked.statistic(unit) == pytest.approx(by_request.value)
    clusters, seen = case.seen("spend")
    (error,) = regression_qualities(case.scores, seen, clusters)
    assert error.statistic(unit) == pytest.approx(rmse(case.scores, seen.labels_n))


def test_a_cluster_that_weighs_two_counts_as_two_clusters_of_the_same_rows() -> None:
    case = Case()
    clusters, seen = case.seen()
    weights = np.random.default_rng(1).integers(0, 4, clusters.count).astype(float)
    repeats = weights[seen.clusters_n].astype(int)
    scores, labels = np.repeat(case.scores[seen.mask_N], repeats), np.repeat(seen.labels_n, repeats)
    found = {quality.name: quality.statistic(weights) for quality in probability_qualities(case.scores, seen, clusters)}
    assert found["auc"] == pytest.approx(auc(scores, labels))
    assert found["log_loss"] == pytest.approx(log_loss(scores, labels))
    assert found["predicted_over_observed"] == pytest.approx(scores.sum() / labels.sum())


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 4)), min_size=1, max_size=40), st.data())
def test_auc_is_exact_under_ties_and_weights_in_any_order_of_rows(
    rows: list[tuple[int, bool, int]], data: st.DataObject
) -> None:
    scores, labels, clusters = (np.array(column) for column in zip(*rows, strict=True))
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=5, max_size=5)), float)
    repeats = weights[clusters].astype(int)
    expected = auc(np.repeat(scores, repeats), np.repeat(labels, repeats))
    order = np.array(data.draw(st.permutations(range(len(rows)))))
    for permuted in (slice(None), order):
        found = WeightedAuc(scores[permuted], labels[permuted], clusters[permuted])(weights)
        assert np.isnan(found) if expected is None else found == pytest.approx(expected)


def test_metrics_without_weight_are_undefined() -> None:
    case = Case()
    clusters, seen = case.seen()
    nothing = np.zeros(clusters.count)
    qualities = [*probability_qualities(case.scores, seen, clusters), ranking_quality(case.scores, seen, clusters, 2)]
    assert all(np.isnan(quality.statistic(nothing)) for quality in qualities)


def test_true_probabilities_are_calibrated_on_a_thinned_log() -> None:
    random = np.random.default_rng(6)
    truth = random.beta(2, 9, 60_013)
    labels = (random.random(len(truth)) < truth).astype(float)
    kept = (labels == 1) | (random.random(len(truth)) < 0.2)
    rows = JudgedRows({"click": labels[kept], "spend": labels[kept]}, negative_sampling_rate={"ctr": 0.2})
    clusters, observed = observe(SCHEMA, rows)
    qualities = {q.name: q for q in probability_qualities(truth[kept], observed["ctr"], clusters)}
    unit = np.ones(clusters.count)
    assert "gauc" not in qualities  # whose rows they are nobody knows
    assert clusters.unit == "rows"
    assert qualities["predicted_over_observed"].statistic(unit) == pytest.approx(1, abs=0.05)
    assert qualities["ece"].statistic(unit) < 0.02
    assert observed["ctr"].rate == pytest.approx(truth.mean(), abs=0.005)
    assert observed["spend"].rate == pytest.approx(labels[kept].mean())


def test_higher_goodness_is_better() -> None:
    assert goodness("auc", np.array([0.6, 0.7])).tolist() == [0.6, 0.7]
    assert goodness("log_loss", np.array([0.6, 0.7])).tolist() == [-0.6, -0.7]
    assert goodness("predicted_over_observed", np.array([0.8, 1.0, 1.3])) == pytest.approx(np.array([-0.2, 0, -0.3]))


def test_requests_are_resampled_where_no_user_is_known() -> None:
    rows = Case().rows
    clusters, _ = observe(SCHEMA, JudgedRows(rows.labels, None, rows.request_ids))
    assert rows.request_ids is not None
    assert (clusters.unit, clusters.count) == ("requests", len(np.unique(rows.request_ids)))


def test_what_cannot_be_judged_says_which_setting_asks_for_more() -> None:
    clusters, seen = Case().seen()
    positives, negatives = int(seen.labels_n.sum()), int((1 - seen.labels_n).sum())
    assert seen.problem(GateConfig(min_positives=min(positives, negatives)), clusters) is None
    few = seen.problem(GateConfig(min_positives=positives + 1), clusters)
    assert few == f"{positives} positives; `gate.min_positives` asks for {positives + 1}"
    users = seen.problem(GateConfig(min_users=31), clusters)
    assert users == f"rows of {clusters.count} users; `gate.min_users` asks for 31"
    _, spend = Case().seen("spend")
    assert spend.problem(GateConfig(min_positives=500), clusters) == "411 rows; `gate.min_positives` asks for 500"
