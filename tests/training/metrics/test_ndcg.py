"""NDCG against scikit-learn where scores differ, and against a loop in serving's order where they tie."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import ndcg_score

from training.metrics import ndcg

rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from(["a", "b", "c"])), max_size=40)


@settings(deadline=None)
@given(rows, st.integers(1, 6))
def test_places_rows_as_serving_does(triples: list[tuple[int, int, str]], k: int) -> None:
    values, skipped = [], 0
    for request in {r for _, _, r in triples}:
        own = [(s, y) for s, y, r in triples if r == request]
        ranked = [y for _, y in sorted(own, key=lambda row: -row[0])]  # stable: ties keep their order
        best = _dcg(sorted(ranked, reverse=True)[:k])
        if best == 0:
            skipped += 1
        else:
            values.append(_dcg(ranked[:k]) / best)
    scores = np.array([s for s, _, _ in triples], float)
    labels = np.array([y for _, y, _ in triples], float)
    found = ndcg(scores, labels, np.array([r for _, _, r in triples], object), k)
    assert (found.k, found.num_requests, found.num_skipped) == (k, len(values), skipped)
    if values:
        assert found.value == pytest.approx(np.mean(values), abs=1e-12)
    else:
        assert found.value is None


@pytest.mark.parametrize("k", [1, 3, 7, 50])
def test_agrees_with_scikit_learn(k: int) -> None:
    scores, labels = np.random.random((29, 11)), np.random.randint(5, size=(29, 11))
    order = np.random.permutation(29 * 11)  # rows of a request need not be neighbours
    requests = np.repeat(np.arange(29), 11)[order]
    found = ndcg(scores.reshape(-1)[order], labels.reshape(-1)[order], requests, k)
    assert found.value == pytest.approx(ndcg_score(labels, scores, k=k), abs=1e-12)


def test_refuses_negative_gains_and_no_places() -> None:
    with pytest.raises(ValueError, match="`labels` must be at least 0, got -1 in row 1"):
        ndcg(np.array([0.1, 0.2]), np.array([0, -1]), np.array([1, 1]), 2)
    with pytest.raises(ValueError, match="`k` must be at least 1, got 0"):
        ndcg(np.array([0.1]), np.array([1]), np.array([1]), 0)


def test_rows_of_no_request_do_not_count() -> None:
    found = ndcg(np.array([0.1, 0.9]), np.array([1, 1]), np.array([None, None], object), 2)
    assert (found.value, found.num_requests, found.num_skipped) == (None, 0, 0)


def _dcg(labels: list[int]) -> float:
    return sum(label / math.log2(place + 2) for place, label in enumerate(labels))
