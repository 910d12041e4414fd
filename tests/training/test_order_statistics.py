"""Quantiles of a stream are those of all its values together, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from training.order_statistics import stream_quantiles

NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64, min_value=-1e300, max_value=1e300))
FRACTIONS = st.lists(st.floats(0, 1), min_size=1, max_size=4)


@settings(deadline=None)
@given(values=NUMBERS.filter(bool), fractions=FRACTIONS, border=st.integers(0, 9))
def test_as_numpy_says(values: list[float], fractions: list[float], border: int) -> None:
    column = np.array(values)
    found = stream_quantiles(lambda: (column[:border], column[border:]), fractions)
    assert found is not None
    assert found.tolist() == np.quantile(column, fractions).tolist()


@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_times_of_many_rows(unit: float) -> None:
    times = np.random.default_rng(4).integers(1_700_000_000, 1_700_864_000, 50_001) * unit
    found = stream_quantiles(lambda: np.array_split(times, 7), [0.8, 0.9, 0.0, 1.0])
    assert found is not None
    assert found.tolist() == np.quantile(times, [0.8, 0.9, 0.0, 1.0]).tolist()


def test_no_value_has_no_quantile() -> None:
    assert stream_quantiles(lambda: [np.empty(0)], [0.5]) is None


def test_signs_and_zeros() -> None:
    column = np.array([-0.0, 0.0, -1e-310, 5e-324, -2.0, 2.0])
    found = stream_quantiles(lambda: [column], [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert found is not None
    assert found.tolist() == [-2.0, -1e-310, 0.0, 0.0, 5e-324, 2.0]
