"""Numbers as model inputs: against NumPy on the whole column, however the stream was cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from ranker.id_maps import MISSING_ID, NUM_RESERVED
from ranker.numeric_maps import NUM_QUANTILES, NumericMap, NumericStats, log1p
from ranker.schema import NumericFeature

Floats = NDArray[np.float64]
COLUMN = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.integers(0, 3)), min_size=1, max_size=40)


def numeric(*transforms: str, **options: object) -> NumericFeature:
    return NumericFeature.model_validate({"name": "x", "side": "user", "transforms": transforms, **options})


def fit(feature: NumericFeature, *batches: Floats) -> NumericMap:
    stats = NumericStats(feature)
    for batch in batches:
        stats.add(batch)
    return stats.build()


@pytest.fixture
def column() -> Floats:
    values = np.random.default_rng(3).lognormal(2.0, 1.5, 5_003)
    values[::7] = np.nan
    return values


def test_identity_passes_values_and_fills_missing(column: Floats) -> None:
    found = fit(numeric(), column).values(numeric(), column)
    np.testing.assert_array_equal(found, np.nan_to_num(column, nan=0.0))


def test_standardize_matches_numpy(column: Floats) -> None:
    feature = numeric("standardize")
    found = fit(feature, column).values(feature, column)
    expected = (column - np.nanmean(column)) / np.nanstd(column)
    np.testing.assert_allclose(found, np.nan_to_num(expected, nan=0.0), rtol=1e-9, atol=1e-12)


def test_log1p_comes_before_the_scale(column: Floats) -> None:
    feature = numeric("log1p", "standardize")
    logs = np.log1p(column)
    found = fit(feature, column).values(feature, column)
    expected = (logs - np.nanmean(logs)) / np.nanstd(logs)
    np.testing.assert_allclose(found, np.nan_to_num(expected, nan=0.0), rtol=1e-9, atol=1e-12)


def test_log1p_is_odd_and_ascends() -> None:
    values = np.linspace(-1e6, 1e6, 4_001)
    np.testing.assert_array_equal(log1p(-values), -log1p(values))
    assert (np.diff(log1p(values)) > 0).all()
    np.testing.assert_allclose(log1p(np.array([0.0, 3.0])), [0.0, np.log(4.0)])


@pytest.mark.parametrize("transforms", [("quantile",), ("log1p", "quantile")])
def test_quantile_is_the_rank_of_a_value(column: Floats, transforms: tuple[str, ...]) -> None:
    feature = numeric(*transforms)
    found = fit(feature, column).values(feature, column)
    seen = column[~np.isnan(column)]
    ranks = seen.argsort().argsort() / (len(seen) - 1)
    np.testing.assert_allclose(found[~np.isnan(column)], ranks, atol=2 / NUM_QUANTILES)
    assert (found[np.isnan(column)] == 0).all()


def test_quantile_ends_where_training_ended(column: Floats) -> None:
    feature = numeric("quantile")
    found = fit(feature, column).values(feature, np.array([-1e30, np.nanmin(column), np.nanmax(column), 1e30]))
    assert found.tolist() == [0.0, 0.0, 1.0, 1.0]


@given(COLUMN, st.lists(st.floats(-1e7, 1e7), min_size=2))
def test_quantile_ascends_within_its_range(seen: list[float], asked: list[float]) -> None:
    feature = numeric("quantile")
    values = np.array([*seen, 1.0])
    found = fit(feature, values).values(feature, np.sort(np.array(asked)))
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_buckets_hold_equal_shares(column: Floats) -> None:
    feature = numeric("bucketize", num_buckets=8)
    learnt = fit(feature, column)
    rows = learnt.rows(feature, column)
    assert learnt.num_rows == 8 + NUM_RESERVED
    assert (rows[np.isnan(column)] == MISSING_ID).all()
    shares = np.bincount(rows[~np.isnan(column)] - NUM_RESERVED, minlength=8) / (~np.isnan(column)).sum()
    np.testing.assert_allclose(shares, 1 / 8, atol=0.01)


def test_a_bucket_begins_at_its_boundary() -> None:
    feature = numeric("bucketize", boundaries=[0.0, 2.5])
    learnt = fit(feature, np.array([1.0]))
    asked = np.array([-9.0, 0.0, 2.4, 2.5, 1e9, np.nan])
    assert (learnt.rows(feature, asked) - NUM_RESERVED).tolist() == [0, 1, 1, 2, 2, MISSING_ID - NUM_RESERVED]
    assert learnt.num_rows == 3 + NUM_RESERVED


def test_boundaries_are_in_raw_units_also_behind_log1p() -> None:
    asked = np.array([-7.0, 3.0, 9.9, 10.0, 2000.0])
    plain, logs = (numeric(*steps, boundaries=[-5, 10, 1000]) for steps in (["bucketize"], ["log1p", "bucketize"]))
    assert (
        fit(plain, asked).rows(plain, asked).tolist() == fit(logs, asked).rows(logs, asked).tolist() == [2, 3, 3, 4, 5]
    )


def test_repeated_quantiles_make_one_bucket() -> None:
    feature = numeric("bucketize", num_buckets=10)
    learnt = fit(feature, np.array([0.0] * 80 + [5.0] * 20))
    assert learnt.num_rows < 10
    rows = learnt.rows(feature, np.array([0.0, 5.0]))
    assert rows[0] != rows[1]


@pytest.mark.parametrize("value", [0.1, 1e-30, 123456789.123, -7e20, 0.0])
def test_constant_column_becomes_zero_and_stays_harmless(value: float) -> None:
    feature = numeric("standardize")
    learnt = fit(feature, *[np.full(1_001, value)] * 3)
    assert learnt.std == 1.0
    np.testing.assert_allclose(learnt.values(feature, np.array([value])), 0.0, atol=abs(value) * 1e-12)


def test_outlier_of_a_nearly_constant_column_stays_finite_in_float32() -> None:
    feature = numeric("standardize")
    learnt = NumericMap(mean=0.0, std=1e-20)
    found = learnt.values(feature, np.array([3e38, -3e38])).astype(np.float32)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("transforms", [("standardize",), ("log1p", "quantile"), ("bucketize",), ()])
@pytest.mark.parametrize("sizes", [[1, 2, 100], [50, 0, 51], [7] * 12, [103]])
def test_any_split_gives_the_same_map_to_the_last_bit(
    transforms: tuple[str, ...], sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ranker.numeric_maps._BLOCK_SIZE", 16)
    monkeypatch.setattr("ranker.numeric_maps.SAMPLE_SIZE", 40)
    column = np.random.default_rng(5).lognormal(size=103)
    column[::9] = np.nan
    batches = np.split(column, np.cumsum(sizes)[:-1])
    feature = numeric(*transforms)
    assert fit(feature, *batches) == fit(feature, column)


def test_sample_of_a_long_column_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranker.numeric_maps.SAMPLE_SIZE", 4_000)
    monkeypatch.setattr("ranker.numeric_maps._BLOCK_SIZE", 1_000)
    column = np.linspace(0.0, 1.0, 100_000)  # sorted: a sample of the first or last rows would show
    grid = np.asarray(fit(numeric("quantile"), column).grid)
    np.testing.assert_allclose(grid, np.linspace(0.0, 1.0, NUM_QUANTILES), atol=0.04)


@given(COLUMN)
def test_rows_of_a_column_are_independent(values: list[float]) -> None:
    column = np.array([*values, 2.0])
    for steps in ((), ("standardize",), ("log1p", "quantile")):
        feature = numeric(*steps)
        learnt = fit(feature, column)
        together = learnt.values(feature, column).tolist()
        assert together == [learnt.values(feature, column[place : place + 1])[0] for place in range(len(column))]
        assert together == [learnt.value(feature, value) for value in column.tolist()]
    buckets = numeric("bucketize")
    learnt = fit(buckets, column)
    together_rows = learnt.rows(buckets, column).tolist()
    assert together_rows == [learnt.rows(buckets, column[place : place + 1])[0] for place in range(len(column))]
    assert together_rows == [learnt.row(buckets, value) for value in column.tolist()]


@given(COLUMN)
def test_map_survives_json_to_the_last_bit(values: list[float]) -> None:
    for steps in (("standardize",), ("quantile",), ("bucketize",)):
        learnt = fit(numeric(*steps), np.array([*values, 0.5]))
        assert NumericMap.model_validate_json(learnt.model_dump_json()) == learnt


def test_nothing_seen_is_an_error() -> None:
    stats = NumericStats(numeric("quantile"))
    stats.add(np.array([np.nan, np.nan]))
    assert stats.empty
    with pytest.raises(ValueError, match="statistics of feature 'x' must see at least one value, got none"):
        stats.build()


@pytest.mark.parametrize("content", ['{"std": 0}', '{"mean": "NaN"}', '{"grid": ["Infinity"]}', '{"scale": 1}'])
def test_broken_map_is_refused(content: str) -> None:
    with pytest.raises(ValidationError):
        NumericMap.model_validate_json(content)
