"""Running counts of features and labels are those of all rows together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from ranker.schema import Schema, TaskSpec
from training.data_check.feature_counter import FeatureCounter, NullCounter, distinct_features, id_tables
from training.data_check.groups import NUM_GROUPS
from training.data_check.task_counter import TaskCounter
from training.labels import OutputLabels

LABELS = st.lists(st.lists(st.one_of(st.none(), st.floats(-1e4, 1e4)), max_size=30), min_size=1, max_size=5)


@given(LABELS)
def test_labels(batches: list[list[float | None]]) -> None:
    counter = TaskCounter(TaskSpec(name="spend", label="spend", kind="regression"))
    for batch in batches:
        array = pa.array(batch, pa.float64())
        values = np.array([np.nan if value is None else value for value in batch], np.float64)
        mask = ~np.isnan(values)
        counter.add(array, OutputLabels(np.where(mask, values, 0.0), mask), np.arange(len(batch)) % NUM_GROUPS)
    found, known = counter.profile(), [value for batch in batches for value in batch if value is not None]
    assert found.num_rows == len(known)
    total = sum(len(batch) for batch in batches)
    assert found.null_rate.value == pytest.approx((total - len(known)) / total if total else 0)
    if found.mean is None:
        assert not known
    else:
        assert found.mean.value == pytest.approx(np.mean(known), abs=1e-6)
        assert found.std == pytest.approx(np.std(known), abs=1e-4)


def test_no_rows_have_no_nulls() -> None:
    assert NullCounter().rate().value == 0


def schema(*features: dict[str, object]) -> Schema:
    return Schema.model_validate(
        {
            "ids": {"item": "item_id"},
            "tables": {"items": {}},
            "features": features,
            "tasks": [{"name": "t", "label": "l"}],
        }
    )


SCHEMA = schema(
    {"name": "item", "source": "item_id", "side": "item", "kind": "categorical", "table": "items"},
    {"name": "again", "source": "item_id", "side": "item", "kind": "categorical", "table": "items"},
    {"name": "own", "source": "item_id", "side": "item", "kind": "categorical"},
    {"name": "history", "side": "user", "kind": "categorical_list", "table": "items", "max_length": 9},
    {
        "name": "recent",
        "source": "history",
        "side": "user",
        "kind": "categorical_list",
        "table": "items",
        "max_length": 2,
    },
    {"name": "age", "side": "user", "kind": "numeric"},
    {"name": "band", "source": "age", "side": "user", "kind": "numeric", "transforms": ["bucketize"]},
    {"name": "city", "side": "user", "kind": "categorical"},
)


def test_what_reads_the_same_is_counted_once() -> None:
    assert [one.name for one in distinct_features(SCHEMA)] == ["item", "own", "history", "recent", "age", "city"]


def test_tables_of_ids() -> None:
    assert id_tables(SCHEMA) == {"items", "own"}


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1.0, float("nan"), 1.0, None]),
        pa.array([1.0, float("nan"), 1.0, None]).dictionary_encode(),
        pa.array([1, None, 1, None], pa.int8()),
        pa.array(["1", None, "1", None]).dictionary_encode(),
    ],
)
def test_nan_and_null_are_no_values(array: pa.Array) -> None:
    counter = FeatureCounter(SCHEMA.features[-1], max_values=5)
    counter.add(pa.record_batch({"city": array}), np.arange(4))
    histogram = {"kind": "values", "counts": {"1": 2}, "other": 0, "missing": 2}
    found = counter.profile(SCHEMA, histogram)  # type: ignore[arg-type]  # as pydantic reads it
    assert found.null_rate.value == 0.5
    assert found.seen is not None
    assert found.seen.counts == {"1": 2}
