"""GAUC against a loop over users."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import roc_auc_score

from training.metrics import gauc

rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), st.sampled_from(["a", "b", "c", None])), max_size=40)


@settings(deadline=None)
@given(rows)
def test_is_the_mean_of_users_weighted_by_impressions(triples: list[tuple[int, int, str | None]]) -> None:
    scores = np.array([s for s, _, _ in triples], float)
    labels = np.array([y for _, y, _ in triples], float)
    users = np.array([u for _, _, u in triples], object)
    found = gauc(scores, labels, users)
    weighted, weight, skipped, counted = 0.0, 0, 0, 0
    for user in {u for _, _, u in triples if u is not None}:
        own = users == user
        if len(set(labels[own])) < 2:
            skipped += 1
            continue
        counted += 1
        weighted += own.sum() * roc_auc_score(labels[own], scores[own])
        weight += own.sum()
    assert (found.num_users, found.num_skipped, found.num_rows) == (counted, skipped, weight)
    if weight:
        assert found.value == pytest.approx(weighted / weight, abs=1e-12)
    else:
        assert found.value is None


@pytest.mark.parametrize("users", [[3, 1, 3, 1], ["3", "1", "3", "1"], [3.5, 1.5, 3.5, 1.5]])
def test_takes_ids_of_any_type(users: list[object]) -> None:
    assert gauc(np.array([0.1, 0.9, 0.2, 0.3]), np.array([0, 0, 1, 1]), np.array(users)).value == 0.5


def test_does_not_see_differences_between_users() -> None:
    scores, labels = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 1, 0, 1])
    assert gauc(scores, labels, np.array([1, 1, 2, 2])).value == 1.0


def test_wants_one_user_per_row() -> None:
    with pytest.raises(ValueError, match=r"`groups` must have one value per row \(2\), got 1"):
        gauc(np.array([0.1, 0.9]), np.array([0, 1]), np.array([1]))
