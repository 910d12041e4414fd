"""Weights of a thinned log: kept negatives stand for those that were dropped, in every output that they are part of."""

from __future__ import annotations

import numpy as np
import pytest

from ranker.schema import Schema
from training.labels import task_labels
from training.thinning import full_log_weights

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "like", "label": "like"},
        ],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)


def test_a_row_stands_for_itself_and_for_the_negatives_that_were_dropped() -> None:
    columns = {"click": np.array([0, 1, 1]), "buy": np.array([0, 0, 1]), "like": np.array([0, 1, np.nan])}
    found = full_log_weights(SCHEMA, task_labels(SCHEMA, columns), {"ctr": 0.25, "cvr": 0.5})
    assert found["ctr"].tolist() == [4, 1, 1]
    assert found["cvr"].tolist() == [1, 2, 1]  # the first is outside its space
    assert found["ctcvr"].tolist() == [4, 2, 1]
    assert found["like"].tolist() == [1, 1, 1]


def test_weighted_means_of_a_thinned_log_are_those_of_the_full_one() -> None:
    random = np.random.default_rng(2)
    click = random.random(80_021) < 0.2
    buy = click & (random.random(len(click)) < 0.4)
    kept = click | (random.random(len(click)) < 0.3)
    columns = {"click": click[kept] * 1.0, "buy": buy[kept] * 1.0, "like": click[kept] * 1.0}
    known = task_labels(SCHEMA, columns)
    weights = full_log_weights(SCHEMA, known, {"ctr": 0.3})
    for output, full in (("ctr", click.mean()), ("ctcvr", buy.mean()), ("cvr", buy[click].mean())):
        mask = known[output].mask
        assert np.average(known[output].values[mask], weights=weights[output][mask]) == pytest.approx(full, rel=0.02)
