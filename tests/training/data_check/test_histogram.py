"""Histograms count everything, and a compressed one has the ranks of the exact one to a thousandth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from training.data_check.histogram import MIN_CELL, NUM_POINTS, ValueHistogram, numeric_histogram

NUMBERS = st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, float("nan")])), max_size=300)


@given(NUMBERS, st.integers(2, 17))
def test_every_number_falls_into_one_cell(numbers: list[float], num_bins: int) -> None:
    found = numeric_histogram(np.array(numbers, np.float64))
    cells = found.cells(found.edges(num_bins))
    assert cells.sum() == found.total == len(numbers)
    assert cells[-1] == np.isnan(numbers).sum()


@given(NUMBERS, st.integers(2, 17))
def test_cells_are_those_of_the_numbers(numbers: list[float], num_bins: int) -> None:
    values = np.array(numbers, np.float64)
    found = numeric_histogram(values)
    edges = found.edges(num_bins)
    present = values[~np.isnan(values)]
    exact = np.bincount(np.searchsorted(edges, present), minlength=len(edges) + 1)
    assert found.cells(edges)[:-1].tolist() == exact.tolist()


def test_bins_hold_equal_shares() -> None:
    found = numeric_histogram(np.arange(700.0))
    assert set(found.cells(found.edges(7))[:-1]) <= {99, 100, 101}


def test_a_value_that_fills_a_bin_has_one_to_itself() -> None:
    found = numeric_histogram(np.array([0.0] * 60 + list(range(1, 41))))
    edges = found.edges(10)
    assert found.cells(edges)[:2].tolist() == [0, 60]
    constant = numeric_histogram(np.full(31, 5.0))
    for moved in (4.0, 6.0):
        other = numeric_histogram(np.full(31, moved))
        assert not (constant.cells(constant.edges(10)) * other.cells(constant.edges(10))).any()


def test_many_numbers_keep_their_ranks() -> None:
    numbers = np.random.default_rng(2).gamma(0.5, 30.0, 41_003)
    found = numeric_histogram(numbers)
    assert len(found.values) <= NUM_POINTS
    assert sum(found.counts) == len(numbers)
    edges = np.quantile(numbers, [0.07, 0.5, 0.91])
    shares = np.cumsum(found.cells(edges)[:3]) / len(numbers)
    assert shares == pytest.approx([0.07, 0.5, 0.91], abs=2 / NUM_POINTS)
    assert found.median == pytest.approx(np.median(numbers), rel=0.02)


def test_no_numbers() -> None:
    found = numeric_histogram(np.array([np.nan, np.nan]))
    assert found.median is None
    assert found.edges(10).tolist() == []
    assert found.cells(found.edges(10)).tolist() == [0, 2]


def test_values_and_the_rest() -> None:
    found = ValueHistogram(counts={"a": 70, "b": MIN_CELL, "c": MIN_CELL - 1}, other=11, missing=3, empty=2)
    assert found.total == 70 + MIN_CELL + MIN_CELL - 1 + 11 + 3 + 2
    assert found.frequent(5) == ("a", "b")
    assert found.frequent(1) == ("a",)
    assert found.cells(["b", "nowhere"]).tolist() == [MIN_CELL, 0, 70 + MIN_CELL - 1 + 11, 3, 2]
