"""Reports: every metric on the rows where its output is defined, undefined ones said to be so."""

import io
import json
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ranker.schema import Schema
from training.evaluation import EvaluationReport, evaluate
from training.metrics import auc, gauc, log_loss, ndcg, rmse

SCHEMA = Schema.model_validate(
    {
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "amount", "label": "amount", "kind": "regression", "space": {"where": {"buy": 1}}},
        ],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)
N = 401


@pytest.fixture
def outputs() -> dict[str, Any]:
    ctr, cvr = np.random.random(N), np.random.random(N)
    return {"ctr": ctr, "cvr": cvr, "amount": np.random.normal(size=N), "ctcvr": ctr * cvr}


@pytest.fixture
def labels(outputs: dict[str, Any]) -> dict[str, Any]:
    click = (np.random.random(N) < outputs["ctr"]).astype(float)
    buy = np.where(click == 1, np.random.random(N) < 0.4, np.nan).astype(float)
    click[::17] = np.nan
    return {"click": click, "buy": buy, "amount": np.random.normal(size=N)}


@pytest.fixture
def report(outputs: dict[str, Any], labels: dict[str, Any]) -> EvaluationReport:
    return evaluate(
        SCHEMA, outputs, labels, USERS, REQUESTS, fused_score=outputs["ctr"] + 3 * outputs["ctcvr"], ks=(3, 5)
    )


USERS, REQUESTS = np.arange(N) % 23, np.arange(N) // 7


def test_each_output_on_its_own_rows(report: EvaluationReport, outputs: dict[str, Any], labels: dict[str, Any]) -> None:
    clicked, shown = labels["click"] == 1, ~np.isnan(labels["click"])
    ctcvr_label = np.where(clicked, labels["buy"], 0)
    bought = labels["buy"] == 1
    assert [found.output for found in report.outputs] == ["ctr", "cvr", "amount", "ctcvr"]
    for name, mask, label in (
        ("ctr", shown, labels["click"]),
        ("cvr", clicked, labels["buy"]),
        ("ctcvr", shown, ctcvr_label),
    ):
        found, scores = report[name], outputs[name][mask]
        assert found.num_rows == mask.sum()
        assert found.num_positives == label[mask].sum()
        assert found.auc == auc(scores, label[mask])
        assert found.gauc == gauc(scores, label[mask], USERS[mask])
        assert found.log_loss == log_loss(scores, label[mask])
        assert found.ndcg == tuple(ndcg(scores, label[mask], REQUESTS[mask], k) for k in (3, 5))
    assert report["amount"].rmse == rmse(outputs["amount"][bought], labels["amount"][bought])


def test_the_fused_score_is_judged_by_every_binary_label(
    report: EvaluationReport, outputs: dict[str, Any], labels: dict[str, Any]
) -> None:
    shown = ~np.isnan(labels["click"])
    fused = outputs["ctr"] + 3 * outputs["ctcvr"]
    assert [found.output for found in report.fused] == ["ctr", "cvr", "ctcvr"]
    assert report.fused[0].auc == auc(fused[shown], labels["click"][shown])
    assert report.fused[0].log_loss is None


def test_true_probabilities_beat_noise(report: EvaluationReport) -> None:
    assert (report["ctr"].auc or 0) > 0.75 > (report["cvr"].auc or 1)


def test_is_json_and_flat_scalars_and_a_table(report: EvaluationReport) -> None:
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert EvaluationReport.from_dict(content) == report
    assert content["outputs"]["ctr"]["auc"] == report["ctr"].auc == report.scalars()["ctr/auc"]
    assert report.scalars()["fused.ctcvr/ndcg@5"] == report.fused[2].ndcg[1].value
    console = Console(width=250, file=io.StringIO(), record=True)
    console.print(report.table("test"))
    text = console.export_text()
    for word in ("test (401 rows)", "ctcvr", "fused score on ctr", "ndcg@3", f"{report['ctr'].auc:.4f}"):
        assert word in text


def test_undefined_metrics_are_null_with_a_reason() -> None:
    nothing = np.full(5, np.nan)
    constant = {name: np.full(5, 0.5) for name in SCHEMA.output_names}
    report = evaluate(SCHEMA, constant, {"click": np.zeros(5), "buy": nothing, "amount": nothing}, np.arange(5))
    assert report["ctr"].auc is None
    assert report["ctr"].notes == ("no AUC: all 5 labels are 0",)
    assert report["cvr"].notes == ("no AUC: no labels",)
    assert report["amount"].notes == ("no error: no labels",)
    assert report["ctr"].ndcg == ()
    assert "cvr/auc" not in report.scalars()
    json.dumps(report.to_dict(), allow_nan=False)
    assert "all 5 labels are 0" in str(report.table().caption)


def test_users_of_one_class_are_told_of() -> None:
    schema = Schema.model_validate(
        {"features": [{"name": "age", "side": "user", "kind": "numeric"}], "tasks": [{"name": "ctr", "label": "click"}]}
    )
    report = evaluate(schema, {"ctr": np.array([0.1, 0.9])}, {"click": np.array([0, 1])}, np.array([1, 2]))
    assert report["ctr"].auc == 1.0
    assert report["ctr"].notes == ("no GAUC: no user has labels of both classes",)


def test_a_missing_output_and_a_wrong_length_are_named(outputs: dict[str, Any], labels: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"got none for \['ctcvr'\]"):
        evaluate(SCHEMA, {k: v for k, v in outputs.items() if k != "ctcvr"}, labels)
    with pytest.raises(ValueError, match=r"`user_ids` must have one value per row \(401\), got 3"):
        evaluate(SCHEMA, outputs, labels, np.arange(3))


def test_probabilities_of_a_thinned_log_are_judged_as_those_of_the_full_one() -> None:
    random = np.random.default_rng(3)
    truth = random.beta(1, 9, 40_000)
    click = (random.random(len(truth)) < truth).astype(float)
    nothing = {"buy": np.full(len(truth), np.nan), "amount": np.full(len(truth), np.nan)}
    outputs = {"ctr": truth, "cvr": truth, "amount": truth, "ctcvr": truth}
    full = evaluate(SCHEMA, outputs, {"click": click, **nothing})["ctr"]
    kept = (click == 1) | (random.random(len(truth)) < 0.25)
    thinned_outputs = {name: values[kept] for name, values in outputs.items()}
    thinned_labels = {name: values[kept] for name, values in {"click": click, **nothing}.items()}
    thinned = evaluate(SCHEMA, thinned_outputs, thinned_labels, negative_sampling_rate={"ctr": 0.25})["ctr"]
    naive = evaluate(SCHEMA, thinned_outputs, thinned_labels)["ctr"]
    assert full.reliability is not None
    assert thinned.reliability is not None
    assert naive.reliability is not None
    assert full.reliability.predicted_over_observed == pytest.approx(1, abs=0.05)
    assert thinned.reliability.predicted_over_observed == pytest.approx(1, abs=0.05)
    assert naive.reliability.predicted_over_observed is not None
    assert naive.reliability.predicted_over_observed < 0.5
    assert thinned.log_loss == pytest.approx(full.log_loss, rel=0.02)
