"""Sample spaces and nulls become masks: against the definition, row by row."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from ranker.errors import DataError
from ranker.schema import Schema
from training.labels import check_sample_spaces, num_labelled, task_labels

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "refund", "label": "refund", "space": {"where": {"click": 1, "buy": 1}}},
            {"name": "amount", "label": "amount", "kind": "regression", "space": {"where": {"buy": 1}}},
        ],
        "outputs": {"ctcvr": "ctr * cvr", "all_three": "refund * ctr * cvr"},
    }
)
bit = st.sampled_from([0, 1, None])


@settings(deadline=None)
@given(st.lists(st.tuples(bit, bit, bit), max_size=30))
def test_each_row_by_the_definition(triples: list[tuple[int | None, int | None, int | None]]) -> None:
    columns = {
        "click": np.array([c for c, _, _ in triples], object),
        "buy": np.array([np.nan if b is None else b for _, b, _ in triples], float),
        "refund": np.array([r for _, _, r in triples], object),
        "amount": np.full(len(triples), 7.5),
    }
    found = task_labels(SCHEMA, columns)
    for row, (click, buy, refund) in enumerate(triples):
        cvr = buy if click == 1 else None
        known_refund = refund if click == 1 and buy == 1 else None
        expected = {
            "ctr": click,
            "cvr": cvr,
            "refund": known_refund,
            "amount": 7.5 if buy == 1 else None,
            "ctcvr": _product(click, cvr),
            "all_three": _product(known_refund, click, cvr),
        }
        for name, label in expected.items():
            assert found[name].mask[row] == (label is not None), (name, row)
            assert found[name].values[row] == (label or 0), (name, row)
    assert num_labelled(found) == {name: int(label.mask.sum()) for name, label in found.items()}


def test_takes_booleans_integers_floats_and_objects_alike() -> None:
    schema = Schema.model_validate(
        {"features": [f.model_dump() for f in SCHEMA.features], "tasks": [{"name": "ctr", "label": "click"}]}
    )
    arrays: list[np.ndarray[Any, Any]] = [
        np.array([True, False]),
        np.array([1, 0], np.int8),
        np.array([1.0, 0.0], np.float32),
        np.array([True, 0], object),
    ]
    for array in arrays:
        assert task_labels(schema, {"click": array})["ctr"].values.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"click": np.array([0, 1, 2])},
            "label column 'click' must be 0, 1 or null, got 2 in row 102; map it to 0 and 1",
        ),
        ({"click": np.array([0, 0.5, 1])}, "label column 'click' must be 0, 1 or null, got 0.5 in row 101"),
        ({"click": np.array([0, np.inf, 1])}, "label column 'click' must be 0, 1 or null, got inf in row 101"),
        ({"click": np.array(["0", "1", "1"])}, "label column 'click' must be numeric or boolean, got <U1; convert it"),
        ({"click": np.array([0, "1", None], object)}, "must be numeric or boolean, got '1' in row 101; convert it"),
        (
            {"amount": np.array([1.0, 2.0, -np.inf])},
            "label column 'amount' must be finite or null, got -inf in row 102",
        ),
        ({"amount": np.array([[1.0], [2.0], [3.0]])}, "label column 'amount' must hold one value per row"),
        ({"amount": np.array([1.0])}, "label columns must have equal lengths"),
    ],
)
def test_names_the_column_the_value_and_the_row(change: Mapping[str, np.ndarray[Any, Any]], message: str) -> None:
    columns = {name: np.array([0, 1, 1]) for name in SCHEMA.label_columns}
    with pytest.raises(DataError, match=message):
        task_labels(SCHEMA, {**columns, **change}, first_row=100)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="label column 'click' is missing"):
        task_labels(SCHEMA, {})


def test_a_task_without_rows_is_refused_by_name_and_space() -> None:
    check_sample_spaces(SCHEMA, {"ctr": 5, "cvr": 3, "refund": 2, "amount": 1})
    with pytest.raises(
        DataError, match="task 'refund' has no row in split 'test' where click = 1 and buy = 1 and 'refu"
    ):
        check_sample_spaces(SCHEMA, {"ctr": 5, "cvr": 3, "refund": 0, "amount": 1}, "test")


def _product(*factors: int | None) -> int | None:
    if 0 in factors:
        return 0
    return None if None in factors else 1
