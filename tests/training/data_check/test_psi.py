"""The index is a distance, and what chance makes of it is taken off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy import stats

from training.data_check.histogram import NumericHistogram, ValueHistogram, numeric_histogram
from training.data_check.psi import drift, population_stability_index

PAIRS = st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000)), min_size=1, max_size=20)


def as_arrays(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one for one, _ in pairs]), np.array([other for _, other in pairs])


@given(PAIRS)
def test_never_negative_and_symmetric(pairs: list[tuple[int, int]]) -> None:
    one, other = as_arrays(pairs)
    index = population_stability_index(one, other)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(other, one))


@given(PAIRS)
def test_zero_for_equal_counts(pairs: list[tuple[int, int]]) -> None:
    one, _ = as_arrays(pairs)
    assert population_stability_index(one, one) == 0


@given(PAIRS, st.randoms())
def test_the_order_of_cells_makes_no_difference(pairs: list[tuple[int, int]], random: object) -> None:
    shuffled = sorted(pairs, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert population_stability_index(*as_arrays(pairs)) == pytest.approx(
        population_stability_index(*as_arrays(shuffled)), abs=1e-12
    )


@given(PAIRS, st.integers(0, 400))
def test_merging_cells_never_raises_it(pairs: list[tuple[int, int]], more: int) -> None:
    # Half a row is added to a merged cell once, not twice: give it the other half
    one, other = as_arrays([(a + 100, b + 100 + more) for a, b in pairs] * 2)
    merged = [np.append(counts[:-2], counts[-2:].sum() + 0.5) for counts in (one, other)]
    assert population_stability_index(*merged) <= population_stability_index(one, other) + 1e-12


def test_known_value() -> None:
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.4, 0.3, 0.3])
    expected = ((q - p) * np.log(q / p)).sum()
    assert population_stability_index(1e9 * p, 1e9 * q) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("expected", "actual", "words"),
    [([1, 2], [1, 2, 3], "one length"), ([1, -1], [2, 3], "at least 0"), ([[1]], [[1]], "one length")],
)
def test_counts_of_no_histogram(expected: list[int], actual: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        population_stability_index(np.array(expected), np.array(actual))


@pytest.mark.parametrize(("n", "m"), [(300, 700), (2_000, 900)])
def test_chance_adds_nothing_on_average_and_is_hardly_ever_exceeded(n: int, m: int) -> None:
    random = np.random.default_rng(3)
    found = []
    for _ in range(300):
        one, other = (numeric_histogram(random.normal(size=size)) for size in (n, m))
        edges = one.edges(10)
        raw = population_stability_index(one.cells(edges)[:-1], other.cells(edges)[:-1])  # no number is missing
        moved = drift(one, other, 10, 50, sigmas=4.0)
        assert moved is not None
        assert moved.psi == pytest.approx(max(0.0, raw - 9 * (1 / n + 1 / m)), abs=1e-12)
        assert moved.psi < moved.chance
        found.append(raw)
    assert np.mean(found) == pytest.approx(9 * (1 / n + 1 / m), rel=0.1)


def test_clusters_make_chance_larger() -> None:
    one = numeric_histogram(np.arange(100.0), design_effect=1.0)
    plain, clustered = (
        drift(one, numeric_histogram(np.arange(50.0, 150.0), design_effect=effect), 10, 50, 4.0) for effect in (1, 9)
    )
    assert plain is not None
    assert clustered is not None
    assert clustered.chance == pytest.approx(5 * plain.chance)
    assert clustered.psi < plain.psi


def test_a_shift_of_one_standard_deviation_is_about_one() -> None:
    random = np.random.default_rng(1)
    one, other = (numeric_histogram(random.normal(shift, size=40_000)) for shift in (0, 1))
    moved = drift(one, other, 10, 50, 4.0)
    assert moved is not None
    assert 0.7 < moved.psi < 1.1
    assert moved.chance < 0.01


def test_values_of_either_day_have_cells() -> None:
    before = ValueHistogram(counts={"a": 500, "b": 300}, other=200, missing=0)
    spike = ValueHistogram(counts={"new": 400, "a": 300, "b": 180}, other=120, missing=0)
    moved = drift(before, spike, 10, 2, 4.0)
    assert moved is not None
    assert moved.psi > 1  # among the other values it would be lost


def test_nothing_to_compare() -> None:
    empty = ValueHistogram(counts={}, other=0, missing=0)
    some = ValueHistogram(counts={"a": 30}, other=0, missing=0)
    number = NumericHistogram(values=(1.0,), counts=(30,), missing=0)
    assert drift(empty, some, 10, 5, 4.0) is None
    assert drift(some, empty, 10, 5, 4.0) is None
    assert drift(some, number, 10, 5, 4.0) is None


def test_chance_is_the_chi_squared_quantile() -> None:
    one = ValueHistogram(counts={"a": 700, "b": 300}, other=0, missing=0)
    moved = drift(one, one, 10, 5, 4.0)
    assert moved is not None
    assert moved.chance == pytest.approx(2 / 1_000 * (stats.chi2.isf(stats.norm.sf(4.0), 1) - 1))
