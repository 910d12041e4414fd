"""Values of sampled rows: what is missing, and how often each value occurs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ranker.schema import FeatureSpec, Schema
from training.data_check.feature_values import FeatureValues
from training.data_check.groups import NUM_GROUPS
from training.data_check.histogram import NumericHistogram, ValueHistogram


def feature(kind: str, **more: Any) -> FeatureSpec:
    spec = {"name": "f", "side": "item", "kind": kind, **more}
    return Schema.model_validate({"features": [spec], "tasks": [{"name": "t", "label": "l"}]}).features[0]


def values(kind: str, array: Any, **more: Any) -> FeatureValues:
    return FeatureValues.of(feature(kind, **more), pa.table({"f": array}))


@pytest.mark.parametrize(
    "array", [pa.array(["b", None, "a", "b"]), pa.array(["b", None, "a", "b"]).dictionary_encode()]
)
def test_categories(array: pa.Array) -> None:
    found = values("categorical", array)
    histogram = found.histogram(np.arange(4), 10, 5)
    assert isinstance(histogram, ValueHistogram)
    assert histogram.counts == {"b": 2, "a": 1}
    assert (histogram.missing, histogram.empty, histogram.other) == (1, 0, 0)
    assert found.missing_R.tolist() == found.null_R.tolist() == [False, True, False, False]


def test_numbers_read_as_categories_are_text() -> None:
    found = values("categorical", pa.array([5.0, float("nan"), 5.0])).histogram(np.arange(3), 10, 5)
    assert isinstance(found, ValueHistogram)
    assert found.counts == {"5": 2}
    assert found.missing == 1


def test_lists() -> None:
    lists = pa.array([["a", "b"], None, [], ["b", "c", "b"], [None]])
    found = values("categorical_list", lists, max_length=2)
    histogram = found.histogram(np.arange(5), 10, 5)
    assert isinstance(histogram, ValueHistogram)
    assert histogram.counts == {"b": 2, "a": 1, "c": 1}
    assert (histogram.missing, histogram.empty) == (1, 2)  # a list of nulls holds no value either
    assert found.missing_R.tolist() == [False, True, True, False, True]


def test_numbers() -> None:
    found = values("numeric", pa.array([1.0, None, 3.0]))
    histogram = found.histogram(np.arange(3), 10, 5)
    assert isinstance(histogram, NumericHistogram)
    assert (histogram.values, histogram.counts, histogram.missing) == ((1.0, 3.0), (1, 1), 1)
    assert found.num_values == 0


def test_rare_values_are_counted_together() -> None:
    words = [f"w{number}" for number in range(100) for _ in range(1 + (number == 7))]
    histogram = values("categorical", pa.array(words)).histogram(np.zeros(101, np.int64), 10, 3)
    assert isinstance(histogram, ValueHistogram)
    assert next(iter(histogram.counts)) == "w7"
    assert len(histogram.counts) == 30
    assert histogram.total == 101


@pytest.mark.parametrize("kind", ["numeric", "categorical", "categorical_list"])
def test_rows_that_are_copies_count_as_one(kind: str) -> None:
    random = np.random.default_rng(2)
    drawn, users = random.integers(0, 6, 500), random.integers(0, NUM_GROUPS, 500)
    copies = np.repeat(drawn, 20)
    array = pa.array([[str(one)] for one in copies]) if kind == "categorical_list" else pa.array(copies)
    spread = values(kind, array).histogram(random.integers(0, NUM_GROUPS, 10_000), 10, 9).design_effect
    together = values(kind, array).histogram(np.repeat(users, 20), 10, 9).design_effect
    assert spread < 2
    assert together == pytest.approx(20, rel=0.4)
