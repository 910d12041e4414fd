"""The bootstrap: weights are a resample, intervals cover a known truth, and pairing makes them short."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from training.gate.bootstrap import replicates, resampled_weights, simultaneous_intervals
from training.gate.statistics import Ratio

NUM_CLUSTERS, RESAMPLES = 57, 300


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(0, 2**32))
def test_weights_are_whole_and_add_up_to_the_number_of_clusters(num_clusters: int, seed: int) -> None:
    drawn = list(resampled_weights(num_clusters, 5, seed))
    again = list(resampled_weights(num_clusters, 5, seed))
    assert len(drawn) == 5
    for weights, same in zip(drawn, again, strict=True):
        assert weights.tolist() == same.tolist()
        assert weights.shape == (num_clusters,)
        assert weights.sum() == num_clusters
        assert (weights == weights.astype(int)).all()
        assert weights.min() >= 0


def test_clusters_weigh_one_on_average_and_scatter_as_a_resample_does() -> None:
    drawn = np.array(list(resampled_weights(NUM_CLUSTERS, 4_000, seed=2)))
    assert drawn.mean(axis=0) == pytest.approx(np.ones(NUM_CLUSTERS), abs=0.08)
    assert drawn.var(axis=0).mean() == pytest.approx(1 - 1 / NUM_CLUSTERS, abs=0.03)


def test_replicates_of_a_mean_scatter_as_the_mean_does() -> None:
    values = np.random.default_rng(4).normal(size=NUM_CLUSTERS)
    found = replicates([Ratio(values, np.ones(NUM_CLUSTERS))], NUM_CLUSTERS, 2_000, seed=1)
    assert found.shape == (2_000, 1)
    assert found.std() == pytest.approx(values.std() / np.sqrt(NUM_CLUSTERS), rel=0.08)
    assert found.mean() == pytest.approx(values.mean(), abs=0.02)


def test_pairing_shrinks_the_interval_of_a_difference() -> None:
    random = np.random.default_rng(4)
    user = random.normal(size=NUM_CLUSTERS)
    ones = np.ones(NUM_CLUSTERS)
    statistics = [Ratio(user + 0.1 * random.normal(size=NUM_CLUSTERS), ones) for _ in range(2)]
    paired = replicates(statistics, NUM_CLUSTERS, RESAMPLES, seed=1)
    apart = replicates(statistics[1:], NUM_CLUSTERS, RESAMPLES, seed=2)
    difference = paired[:, 0] - paired[:, 1]
    assert difference.std() < 0.2 * (paired[:, 0] - apart[:, 0]).std()


def test_intervals_cover_all_true_values_at_once_about_as_often_as_they_say() -> None:
    """Five metrics of 57 users, correlated; the truth is 0. Single intervals would all cover in about 80 % only."""
    random = np.random.default_rng(9)
    ones = np.ones(NUM_CLUSTERS)
    covered = 0
    for trial in range(200):
        shared = random.normal(size=(NUM_CLUSTERS, 1))
        values = 0.5 * shared + random.normal(size=(NUM_CLUSTERS, 5))
        statistics = [Ratio(column, ones) for column in values.T]
        found = replicates(statistics, NUM_CLUSTERS, RESAMPLES, seed=trial)
        low, high = simultaneous_intervals(values.mean(axis=0), found, 0.95)
        covered += bool(((low <= 0) & (high >= 0)).all())
    assert 0.90 <= covered / 200 <= 0.99


def test_one_interval_is_the_usual_one_and_more_metrics_widen_it() -> None:
    found = np.random.default_rng(0).normal(size=(4_000, 8))
    one = simultaneous_intervals(np.zeros(1), found[:, :1], 0.95)
    all_of_them = simultaneous_intervals(np.zeros(8), found, 0.95)
    assert one[1][0] == pytest.approx(1.96, abs=0.08)
    assert all_of_them[1][0] == pytest.approx(2.73, abs=0.1)  # (1 - 0.95^(1/8)) / 2 of a normal
    same = simultaneous_intervals(np.zeros(8), np.repeat(found[:, :1], 8, axis=1), 0.95)
    assert same[1] == pytest.approx(np.full(8, one[1][0]))  # metrics that move together cost nothing


def test_what_does_not_scatter_has_no_width_and_what_is_undefined_is_left_out() -> None:
    found = np.stack([np.full(RESAMPLES, 0.5), np.linspace(-1, 1, RESAMPLES)], axis=1)
    found[::7, 1] = np.nan
    low, high = simultaneous_intervals(np.array([0.5, 0.0]), found, 0.9)
    assert (low[0], high[0]) == (0.5, 0.5)
    assert -1 < low[1] < 0 < high[1] < 1
    still = simultaneous_intervals(np.array([0.5]), found[:, :1], 0.9)
    assert [end.tolist() for end in still] == [[0.5], [0.5]]
