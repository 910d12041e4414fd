"""Log loss against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import log_loss as reference

from training.metrics import log_loss


def test_agrees_with_scikit_learn() -> None:
    probabilities = np.concatenate([np.random.random(1_001), [0.0, 1.0, 0.0, 1.0]])
    labels = np.concatenate([np.random.randint(2, size=1_001), [0, 1, 1, 0]])
    assert log_loss(probabilities, labels) == pytest.approx(reference(labels, probabilities), rel=1e-9)


def test_defined_for_one_class_and_undefined_without_rows() -> None:
    assert log_loss(np.array([0.25]), np.array([0])) == pytest.approx(-np.log(0.75))
    assert log_loss(np.array([]), np.array([])) is None


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.inf])
def test_refuses_what_is_no_probability(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"`probabilities` must be in \[0, 1\], got .* in row 1"):
        log_loss(np.array([0.5, wrong]), np.array([0, 1]))


def test_a_row_that_weighs_three_counts_as_three_rows() -> None:
    probabilities, labels, weights = np.array([0.2, 0.7, 0.6]), np.array([0, 1, 0]), np.array([3, 1, 2])
    found = log_loss(probabilities, labels, weights.astype(float))
    assert found == pytest.approx(log_loss(np.repeat(probabilities, weights), np.repeat(labels, weights)))
