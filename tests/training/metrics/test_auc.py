"""AUC, exact and binned, against scikit-learn and by its definition."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import roc_auc_score

from training.metrics import BinnedAuc, auc

# Few different scores, so that nearly every example has ties.
rows = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), max_size=40)


@settings(deadline=None)
@given(rows)
def test_is_the_share_of_won_pairs(pairs: list[tuple[int, int]]) -> None:
    positives = [score for score, label in pairs if label]
    negatives = [score for score, label in pairs if not label]
    found = auc(np.array([s for s, _ in pairs], float), np.array([y for _, y in pairs], float))
    if not positives or not negatives:
        assert found is None
    else:
        wins = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
        assert found == pytest.approx(wins / (len(positives) * len(negatives)), abs=1e-12)


def test_agrees_with_scikit_learn_on_many_rows() -> None:
    scores, labels = np.random.normal(size=5_003).round(1), np.random.randint(2, size=5_003)
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_takes_infinite_scores_and_boolean_labels() -> None:
    assert auc(np.array([-np.inf, np.inf, np.inf]), np.array([False, False, True])) == 0.75


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, np.nan], [0, 1], "`predictions` must not hold NaN, got one in row 1"),
        ([0.1, 0.2], [0, np.nan], "`labels` must not hold NaN, got one in row 1"),
        ([0.1, 0.2, 0.3], [0, 1, 2], "`labels` must be 0 or 1, got 2 in row 2"),
        ([0.1, 0.2, 0.3], [0, 1], "vectors of one length"),
    ],
)
def test_names_what_it_cannot_take(scores: list[float], labels: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        auc(np.array(scores), np.array(labels))


@settings(deadline=None)
@given(rows, rows)
def test_binned_in_batches_equals_exact_at_once(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    binned, other = BinnedAuc(), BinnedAuc()
    for part, target in ((first, binned), (second, other)):
        target.add(np.array([s / 4 for s, _ in part]), np.array([y for _, y in part], float))
    binned.merge(other)
    both = first + second
    assert binned.value() == auc(np.array([s for s, _ in both], float), np.array([y for _, y in both], float))


def test_binned_is_close_on_continuous_probabilities() -> None:
    probabilities = np.random.beta(0.4, 9, size=20_011)
    labels = np.random.random(20_011) < probabilities
    binned = BinnedAuc()
    binned.add(probabilities, labels)
    assert binned.value() == pytest.approx(auc(probabilities, labels), abs=1e-4)


def test_binned_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match=r"`probabilities` must be in \[0, 1\], got 1.5 in row 1"):
        BinnedAuc().add(np.array([0.5, 1.5]), np.array([0, 1]))
