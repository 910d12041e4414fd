"""One feature against one label, judged on rows that it was not fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ranker.schema import Schema
from training.data_check.feature_values import FeatureValues
from training.data_check.groups import NUM_GROUPS
from training.data_check.leakage import SingleFeatureAuc, auc_error, single_feature_aucs
from training.labels import OutputLabels
from training.metrics import auc

NUM_ROWS = 4_001
RANDOM = np.random.default_rng(9)
LABELS = (RANDOM.random(NUM_ROWS) < 0.2).astype(np.float64)
GROUPS = np.arange(NUM_ROWS) % NUM_GROUPS


def found(
    values: Any,
    kind: str = "numeric",
    labels: np.ndarray = LABELS,
    mask: np.ndarray | None = None,
    task_kind: str = "binary",
) -> dict[str, SingleFeatureAuc]:
    schema = Schema.model_validate(
        {"features": [{"name": "f", "side": "item", "kind": kind}], "tasks": [{"name": "t", "label": "l"}]}
    )
    feature = FeatureValues.of(schema.features[0], pa.table({"f": values}))
    known = np.ones(NUM_ROWS, np.bool_) if mask is None else mask
    label = OutputLabels(np.where(known, labels, 0.0), known)
    aucs = single_feature_aucs({"f": feature}, {"t": label}, {"t": task_kind}, GROUPS)
    return {one.by: one for one in aucs}


def test_a_number_in_either_direction() -> None:
    noisy = LABELS + RANDOM.normal(size=NUM_ROWS)
    judge = GROUPS % 2 == 1
    for values in (noisy, -noisy):
        assert found(values)["value"].auc == pytest.approx(auc(noisy[judge], LABELS[judge]))


def test_numbers_that_know_nothing() -> None:
    single = found(RANDOM.normal(size=NUM_ROWS))["value"]
    assert abs(single.auc - 0.5) < 4 * single.standard_error
    assert (single.num_rows, single.num_positives) == (int((GROUPS % 2).sum()), int(LABELS[GROUPS % 2 == 1].sum()))


def test_values_that_are_all_different_do_not_learn_their_labels_by_heart() -> None:
    names = pa.array([f"row {row}" for row in range(NUM_ROWS)])
    assert "value" not in found(names, "categorical")  # on rows not seen all score alike


def test_categories() -> None:
    category = np.where(LABELS == 1, RANDOM.integers(0, 7, NUM_ROWS), RANDOM.integers(5, 17, NUM_ROWS))
    single = found(pa.array([f"c{one}" for one in category]), "categorical")["value"]
    assert single.auc > 0.9
    shuffled = RANDOM.permutation(category)
    assert abs(found(pa.array(shuffled), "categorical")["value"].auc - 0.5) < 0.05


def test_lists_by_their_elements() -> None:
    lists = [["bought", f"t{row % 13}"] if LABELS[row] else [f"t{row % 11}"] * (row % 3) for row in range(NUM_ROWS)]
    assert found(pa.array(lists), "categorical_list")["value"].auc > 0.99


@pytest.mark.parametrize("when", [0, 1])
def test_missing_values_give_a_label_away(when: int) -> None:
    numbers = np.where(when == LABELS, np.nan, RANDOM.normal(size=NUM_ROWS))
    assert found(pa.array(numbers, from_pandas=True))["missing"].auc == 1
    assert "value" not in found(pa.array(numbers, from_pandas=True))  # one class only is left


def test_a_regression_is_judged_by_its_median() -> None:
    spend = RANDOM.gamma(1.0, 20.0, NUM_ROWS)
    assert found(spend * 1.21, labels=spend, task_kind="regression")["value"].auc == 1


def test_too_few_rows_of_a_class_say_nothing() -> None:
    rare = np.zeros(NUM_ROWS)
    rare[:30] = 1
    assert found(rare, labels=rare) == {}
    assert found(LABELS, mask=np.zeros(NUM_ROWS, np.bool_)) == {}


def test_rows_outside_the_sample_space_take_no_part() -> None:
    mask = RANDOM.random(NUM_ROWS) < 0.6
    values = np.where(mask, LABELS, 1 - LABELS)
    single = found(values, mask=mask)["value"]
    assert single.auc == 1
    assert single.num_rows == int((mask & (GROUPS % 2 == 1)).sum())


def test_the_error_is_the_scatter_of_the_auc() -> None:
    areas: list[float] = []
    for _ in range(300):
        scores = np.concatenate([RANDOM.normal(1.0, size=60), RANDOM.normal(size=170)])
        areas.append(auc(scores, np.arange(230) < 60) or 0.0)
    assert auc_error(float(np.mean(areas)), 60, 170) == pytest.approx(np.std(areas), rel=0.2)
    assert auc_error(1.0, 60, 170) == 0
