"""Real networks, trained on simulated clicks: an equal one passes, one of each kind of accident is refused for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, logit

from tests.training.gate.conftest import Night
from training.gate import Decision, Scores

Train = Callable[..., Night]


def worse(decision: Decision) -> set[tuple[str, str]]:
    """Outputs and metrics that refused the challenger as worse."""
    return {(one.output, one.metric) for one in decision.comparisons if one.verdict == "worse"}


def test_an_equal_challenger_passes(
    champion: Night, train_on: Train, experiment: dict[str, Any], simulated_log: pa.Table
) -> None:
    other_seed = train_on(experiment, simulated_log, 2)
    decision = champion.judge(other_seed.scores)
    assert decision.passed, decision.reasons
    assert all(check.verdict == "kept" for check in decision.floors if check.metric == "auc")


def test_shuffled_labels_are_refused_for_order_by_comparison_and_by_the_floor(
    champion: Night, train_on: Train, experiment: dict[str, Any], simulated_log: pa.Table
) -> None:
    """An accident before training: labels of the past have lost their rows. Those of the test days are right."""
    order = np.arange(len(simulated_log))
    past = len(order) * 7 // 10
    order[:past] = np.random.default_rng(0).permutation(past)
    table = simulated_log
    for name in ("click", "conversion"):
        table = table.set_column(table.column_names.index(name), name, simulated_log[name].take(pa.array(order)))
    decision = champion.judge(train_on(experiment, table, 2).scores)
    assert not decision.passed
    order_of_clicks = {("ctr", "auc"), ("ctr", "gauc"), ("ctr", "ndcg@10")}
    assert order_of_clicks | {("ctr", "log_loss"), ("cvr", "auc"), ("ctcvr", "auc")} <= worse(decision)
    broken = {(check.output, check.metric) for check in decision.floors if check.verdict == "broken"}
    assert broken & {("ctr", "auc"), ("cvr", "auc"), ("ctcvr", "auc")}
    assert "AUC of ctr went from 0." in " ".join(decision.reasons)


def test_a_feature_that_is_the_label_is_too_good_to_be_true(
    champion: Night, train_on: Train, experiment: dict[str, Any], simulated_log: pa.Table
) -> None:
    schema = experiment["schema"]
    leak = {"name": "leak", "side": "context", "kind": "numeric"}
    content = experiment | {"schema": schema | {"features": [*schema["features"], leak]}}
    table = simulated_log.append_column("leak", simulated_log["click"])
    decision = champion.judge(train_on(content, table, 2).scores)
    assert not decision.passed
    assert worse(decision) == set()
    assert ("ctr", "auc", "too_good") in {(one.output, one.metric, one.verdict) for one in decision.comparisons}
    assert any(reason.startswith("AUC of ctr is too good to be true") for reason in decision.reasons)


def test_half_of_the_features_lost_is_refused_for_order(
    champion: Night, train_on: Train, experiment: dict[str, Any], simulated_log: pa.Table
) -> None:
    """An accident of a join: every other column holds the same value in all rows."""
    columns = list(dict.fromkeys(feature.column for feature in champion.config.data_schema.features))
    table, first = simulated_log, pa.array(np.zeros(len(simulated_log), np.int64))
    for name in columns[::2]:
        table = table.set_column(table.column_names.index(name), name, simulated_log[name].take(first))
    decision = champion.judge(train_on(experiment, table, 2).scores)
    assert not decision.passed
    assert {("ctr", "auc"), ("ctr", "log_loss")} <= worse(decision)
    assert not [reason for reason in decision.reasons if "predicted over observed" in reason]


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.6), (1.0, -0.6), (2.5, 0.0), (0.3, 0.0)])
def test_miscalibration_is_refused_for_calibration_and_not_for_order(
    champion: Night, slope: float, shift: float
) -> None:
    """Log odds shifted or stretched: the order of rows is that of the champion itself."""
    z = logit(champion.scores.outputs["ctr"])
    spoilt = expit(z.mean() + slope * (z - z.mean()) + shift)
    cvr = champion.scores.outputs["cvr"]
    decision = champion.judge(Scores({"ctr": spoilt, "cvr": cvr, "ctcvr": spoilt * cvr}, "spoilt"))
    assert not decision.passed
    refused = worse(decision)
    assert ("ctr", "ece") in refused
    assert not refused & {("ctr", "auc"), ("ctr", "gauc"), ("cvr", "auc"), ("cvr", "ece")}
    assert any("ctr" in reason and "calibration" in reason for reason in decision.reasons)
