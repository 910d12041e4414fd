"""Squared error against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_squared_error, root_mean_squared_error

from training.metrics import mse, rmse


def test_agrees_with_scikit_learn() -> None:
    predictions, labels = np.random.normal(size=503), np.random.normal(3, 2, size=503)
    assert mse(predictions, labels) == pytest.approx(mean_squared_error(labels, predictions))
    assert rmse(predictions, labels) == pytest.approx(root_mean_squared_error(labels, predictions))


def test_undefined_without_rows() -> None:
    assert mse(np.array([]), np.array([])) is None
    assert rmse(np.array([]), np.array([])) is None
