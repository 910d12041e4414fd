"""The pure parts of the benchmark of the gate: what is planted, what the truth says, and what the table counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from benchmarks.gate import PLANTED, exact_interval, expected, markdown, spoil
from ranker.schema import Schema
from training.gate import Scores
from training.metrics import auc

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "buy"}],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)


def test_noise_spoils_the_order_and_the_rest_does_not() -> None:
    random = np.random.default_rng(1)
    outputs = {"ctr": random.uniform(0.1, 0.9, 211), "cvr": random.uniform(0.1, 0.9, 211)}
    whole = Scores(outputs | {"ctcvr": outputs["ctr"] * outputs["cvr"]}, "whole")
    for name in PLANTED:
        found = spoil(whole, SCHEMA, name, random)
        same_order = np.array_equal(np.argsort(found.outputs["ctr"]), np.argsort(outputs["ctr"]))
        assert same_order == (not name.startswith("noise")), name
        assert np.array_equal(found.outputs["cvr"], outputs["cvr"])
        assert found.outputs["ctcvr"] == pytest.approx(np.asarray(found.outputs["ctr"]) * outputs["cvr"])
    odds = spoil(whole, SCHEMA, "odds times 1.3", random).outputs["ctr"]
    assert np.exp(logit(odds) - logit(outputs["ctr"])) == pytest.approx(np.full(211, 1.3))


def test_expected_metrics_are_those_of_many_draws() -> None:
    random = np.random.default_rng(2)
    z = random.normal(size=60_013) - 1
    labels = random.random(len(z)) < expit(z)
    found = expected(expit(0.7 * z), expit(z), np.ones_like(z))
    assert found["auc"] == pytest.approx(auc(z, labels), abs=0.01)
    assert found["predicted_over_observed"] == pytest.approx(expit(0.7 * z).sum() / labels.sum(), abs=0.02)
    assert found["log_loss"] > expected(expit(z), expit(z), np.ones_like(z))["log_loss"]


def test_the_exact_interval_is_the_published_one() -> None:
    assert exact_interval(0, 50) == pytest.approx((0, 0.0711), abs=1e-4)
    assert exact_interval(50, 50) == pytest.approx((0.9289, 1), abs=1e-4)
    assert exact_interval(3, 20) == pytest.approx((0.0321, 0.3789), abs=1e-4)


def test_the_table_counts_refusals_and_tells_false_alarms_from_true_losses() -> None:
    def kept(passed: bool, truly_worse: bool) -> dict[str, Any]:
        causes = [] if passed else ["auc of cvr"]
        return {"passed": passed, "causes": causes, "truly_worse": truly_worse}

    planted = {"noise": kept(False, True) | {"auc_lost": 0.02, "predicted_over_observed": 1.25}}
    worlds = [
        {"equal": [kept(False, True), kept(True, False)], "planted": planted},
        {"equal": [kept(True, False), kept(False, False)], "planted": {}},
    ]
    cost = {"rows": 2_000, "users": 30, "comparisons": 7, "resamples": 100, "seconds": 1.25}
    shown = markdown({"worlds": worlds, "cost": cost})
    assert "2 pairs, each judged both ways." in shown
    assert "| the same but for its seed | 4 | 2 | 50.0%, 6.8% to 93.2% |" in shown
    assert "| of these, expected losses as allowed | 3 | 1 | 33.3%, 0.8% to 90.6% |" in shown
    assert "Refused for: auc of cvr (2)." in shown
    assert "| noise | 0.0200 | 1.25 | 100% of 1 |" in shown
    assert "2,000 rows, 30 users, 7 comparisons, 100 resamples: 1.2 processor seconds." in shown
