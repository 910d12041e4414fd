"""Reliability: what is calibrated looks so, what is not does not, and order never matters."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from training.metrics import reliability

rows = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 1)), min_size=1, max_size=60)


def test_true_probabilities_are_calibrated_and_doubled_ones_are_not() -> None:
    probabilities = np.random.beta(1, 8, size=40_009)
    labels = np.random.random(40_009) < probabilities
    true, doubled = reliability(probabilities, labels), reliability(np.minimum(2 * probabilities, 1), labels)
    assert true.predicted_over_observed == pytest.approx(1, abs=0.05)
    assert doubled.predicted_over_observed == pytest.approx(2, abs=0.1)
    assert true.ece is not None
    assert doubled.ece is not None
    assert true.ece < 0.01 < 0.08 < doubled.ece


@settings(deadline=None)
@given(rows, st.integers(1, 9))
def test_bins_account_for_every_row_in_any_order(pairs: list[tuple[int, int]], num_bins: int) -> None:
    probabilities = np.array([p / 10 for p, _ in pairs])
    labels = np.array([y for _, y in pairs], float)
    found = reliability(probabilities, labels, num_bins)
    order = np.lexsort((labels[::-1], np.arange(len(labels)) % 3))
    again = reliability(probabilities[order], labels[order], num_bins)
    rows_N, predicted_N, observed_N = map(np.array, (found.bin_rows, found.bin_predicted, found.bin_observed))
    assert again.bin_rows == found.bin_rows
    assert again.bin_predicted == pytest.approx(found.bin_predicted)
    assert again.bin_observed == pytest.approx(found.bin_observed)
    assert len(rows_N) <= num_bins
    assert rows_N.sum() == len(pairs)
    assert predicted_N @ rows_N == pytest.approx(probabilities.sum())
    assert observed_N @ rows_N == pytest.approx(labels.sum())
    assert (np.diff(predicted_N) > 0).all()
    assert found.ece == pytest.approx(np.abs(predicted_N - observed_N) @ rows_N / len(pairs))


def test_bins_hold_equal_numbers_of_rows_where_nothing_ties() -> None:
    found = reliability(np.random.permutation(1_000) / 1_000, np.random.randint(2, size=1_000), num_bins=8)
    assert found.bin_rows == (125,) * 8


def test_undefined_without_positives_and_without_rows() -> None:
    assert reliability(np.array([0.5]), np.array([0])).predicted_over_observed is None
    assert reliability(np.array([]), np.array([])).ece is None
    with pytest.raises(ValueError, match="`num_bins` must be at least 1, got 0"):
        reliability(np.array([0.5]), np.array([0]), 0)


def test_a_row_that_weighs_three_counts_as_three_rows() -> None:
    probabilities = np.random.beta(1, 4, size=301)
    labels = (np.random.random(301) < probabilities).astype(float)
    weights = np.random.randint(1, 4, size=301)
    found = reliability(probabilities, labels, num_bins=1, weights=weights.astype(float))
    repeated = reliability(np.repeat(probabilities, weights), np.repeat(labels, weights), num_bins=1)
    assert found.predicted_over_observed == pytest.approx(repeated.predicted_over_observed)
    assert found.ece == pytest.approx(repeated.ece)
    assert found.bin_predicted == pytest.approx(repeated.bin_predicted)
    assert found.bin_rows == (301,)
