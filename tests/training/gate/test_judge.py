"""The gate's decisions on known scores: what passes, what is refused, in which words, and what is not judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import StringIO
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from scipy.special import expit, logit

from ranker.fusion import FusionPolicy
from ranker.schema import Schema
from training.gate import Comparison, Decision, GateConfig, JudgedRows, Scores, judge

Floats = NDArray[np.float64]

SCHEMA = Schema.model_validate(
    {
        "ids": {"user": "user", "request": "request"},
        "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}},
            {"name": "spend", "label": "spend", "kind": "regression"},
        ],
        "outputs": {"ctcvr": "ctr * cvr"},
    }
)
POLICY = FusionPolicy.model_validate(
    {"terms": [{"output": "ctr", "weight": 0.3}, {"output": "ctcvr", "weight": 1}, {"output": "spend", "weight": 0.1}]}
)
CONFIG = GateConfig(resamples=200)
NUM_ROWS, NUM_REQUESTS, NUM_USERS = 24_000, 3_000, 700


class World:
    """Rows whose true probabilities are known, and scores made from them."""

    def __init__(self, seed: int = 1) -> None:
        self.random = np.random.default_rng(seed)
        request = np.repeat(np.arange(NUM_REQUESTS), NUM_ROWS // NUM_REQUESTS)
        user = self.random.integers(0, NUM_USERS, NUM_REQUESTS)[request]
        taste = 0.3 * self.random.normal(size=NUM_USERS)[user]
        own = {name: self.random.normal(size=NUM_ROWS) for name in ("ctr", "cvr")}
        self.logits = {"ctr": taste + own["ctr"] - 1, "cvr": taste + own["cvr"]}
        self.value = self.random.gamma(2, size=NUM_ROWS)
        click = self.random.random(NUM_ROWS) < expit(self.logits["ctr"])
        labels = {
            "click": click.astype(float),
            "buy": (click & (self.random.random(NUM_ROWS) < expit(self.logits["cvr"]))).astype(float),
            "spend": self.value + self.random.normal(size=NUM_ROWS),
        }
        self.rows = JudgedRows(labels, user, request)

    def scores(self, version: str = "a", noise: float = 0.05, **changed: Floats) -> Scores:
        """The truth with noise of its own for every call; log odds given by name take its place."""
        noisy = {name: z + noise * self.random.normal(size=NUM_ROWS) for name, z in self.logits.items()} | changed
        outputs = {name: expit(z) for name, z in noisy.items() if name in self.logits}
        outputs |= {"ctcvr": outputs["ctr"] * outputs["cvr"], "spend": noisy.get("spend", self.value)}
        return Scores(outputs, version)

    def judge(self, challenger: Scores, champion: Scores | None, config: GateConfig = CONFIG) -> Decision:
        return judge(SCHEMA, self.rows, challenger, champion, config, POLICY)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def found(decision: Decision, output: str, metric: str) -> Comparison:
    return next(one for one in decision.comparisons if (one.output, one.metric) == (output, metric))


def test_an_equal_challenger_passes_on_every_metric(world: World) -> None:
    decision = world.judge(world.scores("new"), world.scores("old"))
    assert decision.passed
    assert decision.reasons == ()
    assert (decision.challenger_version, decision.champion_version) == ("new", "old")
    assert (decision.num_rows, decision.unit) == (NUM_ROWS, "users")
    assert decision.num_clusters == len(np.unique(np.asarray(world.rows.user_ids)))
    binary = ["auc", "gauc", "log_loss", "predicted_over_observed", "ece"]
    judged = [(one.output, one.metric) for one in decision.comparisons]
    assert judged == [
        *(("ctr", metric) for metric in binary),
        *(("cvr", metric) for metric in binary),
        ("spend", "rmse"),
        *(("ctcvr", metric) for metric in binary),
        ("ctr", "ndcg@10"),
        ("ctcvr", "ndcg@10"),
    ]
    for one in decision.comparisons:
        assert one.verdict in ("not_worse", "unclear", "tolerated", "better")
        assert one.interval[0] <= one.difference <= one.interval[1]


def test_the_same_model_has_no_difference_at_all(world: World) -> None:
    same = world.scores()
    strict = CONFIG.model_copy(update={"strict": True, "allowed_loss": dict.fromkeys(("auc", "log_loss", "ndcg"), 0)})
    decision = world.judge(same, same, strict)
    assert decision.passed
    assert {(one.difference, one.interval, one.verdict) for one in decision.comparisons} == {(0, (0, 0), "not_worse")}


def test_the_order_of_the_rows_does_not_matter(world: World) -> None:
    order = world.random.permutation(NUM_ROWS)
    labels = {name: np.asarray(column)[order] for name, column in world.rows.labels.items()}
    users, requests = (np.asarray(ids)[order] for ids in (world.rows.user_ids, world.rows.request_ids))
    one, other = world.scores(noise=0.5), world.scores()
    moved = [Scores({name: values[order] for name, values in s.outputs.items()}, s.version) for s in (one, other)]
    here = world.judge(one, other)
    there = judge(SCHEMA, JudgedRows(labels, users, requests), moved[0], moved[1], CONFIG, POLICY)
    for before, after in zip(here.comparisons, there.comparisons, strict=True):
        assert before.difference == pytest.approx(after.difference)
        assert before.interval == pytest.approx(after.interval)


def test_decisions_are_the_same_in_every_run(world: World) -> None:
    challenger, champion = world.scores(), world.scores()
    assert world.judge(challenger, champion) == world.judge(challenger, champion)


def test_shuffled_scores_are_refused_for_their_order_and_by_the_floor(world: World) -> None:
    shuffled = world.scores(ctr=world.random.permutation(world.logits["ctr"]))
    decision = world.judge(shuffled, world.scores())
    assert not decision.passed
    assert found(decision, "ctr", "auc").verdict == "worse"
    assert found(decision, "cvr", "auc").verdict != "worse"
    assert any(reason.startswith("AUC of ctr went from 0.7") for reason in decision.reasons)
    assert any(reason.startswith("AUC of ctr is ") and "at least 0.55" in reason for reason in decision.reasons)
    alone = world.judge(shuffled, None)
    assert not alone.passed
    assert alone.comparisons == ()
    assert alone.champion_version is None


@pytest.mark.parametrize(("factor", "direction"), [(1.6, "over"), (0.6, "under")])
def test_shifted_odds_are_refused_for_calibration_alone(world: World, factor: float, direction: str) -> None:
    champion = world.scores()
    shifted = Scores({**champion.outputs, "ctr": expit(logit(champion.outputs["ctr"]) + np.log(factor))}, direction)
    decision = world.judge(shifted, champion)
    assert not decision.passed
    worse = {one.metric for one in decision.comparisons if one.verdict == "worse" and one.output == "ctr"}
    assert worse == {"log_loss", "predicted_over_observed", "ece"}
    assert found(decision, "ctr", "auc").difference == pytest.approx(0, abs=1e-12)
    floors = {(check.output, check.metric) for check in decision.floors if check.verdict == "broken"}
    assert floors == {("ctr", "predicted_over_observed")}


def test_overconfidence_is_refused_although_the_average_is_right(world: World) -> None:
    champion = world.scores()
    z = logit(champion.outputs["cvr"])
    decision = world.judge(Scores({**champion.outputs, "cvr": expit(2.5 * z)}, "sure of itself"), champion)
    worse = {one.metric for one in decision.comparisons if one.verdict == "worse" and one.output == "cvr"}
    assert worse == {"log_loss", "ece"}
    assert not decision.passed


def test_a_leaked_label_is_too_good_to_be_true_with_and_without_a_champion(world: World) -> None:
    leaked = world.scores(ctr=8 * np.asarray(world.rows.labels["click"]) - 4 + world.random.normal(size=NUM_ROWS))
    decision = world.judge(leaked, world.scores())
    assert not decision.passed
    assert found(decision, "ctr", "auc").verdict == "too_good"
    too_good = [reason for reason in decision.reasons if "too good to be true" in reason]
    assert all("look for a feature that knows the label" in reason for reason in too_good)
    assert any("of the way to a perfect order, more than the 50% of `gate.max_gain`" in reason for reason in too_good)
    alone = world.judge(leaked, None)
    assert alone.reasons[0].startswith("AUC of ctr is too good to be true: ")
    trusting = CONFIG.model_copy(update={"max_gain": None, "floors": {"auc": None, "predicted_over_observed": None}})
    assert world.judge(leaked, world.scores(), trusting).passed


def test_a_worse_regression_is_refused(world: World) -> None:
    decision = world.judge(world.scores(spend=world.value + world.random.normal(size=NUM_ROWS)), world.scores())
    assert [reason.split(" went")[0] for reason in decision.reasons] == [
        "RMSE of spend",
        "NDCG@10 of the fused score on ctcvr",  # of which spend is a part
    ]
    assert found(decision, "spend", "rmse").allowed == pytest.approx(0.01 * found(decision, "spend", "rmse").champion)


def test_a_worse_order_within_requests_is_found_by_gauc_and_ndcg(world: World) -> None:
    assert world.rows.user_ids is not None
    by_user = 2 * world.random.normal(size=NUM_USERS)[np.asarray(world.rows.user_ids)]
    decision = world.judge(world.scores(ctr=0.1 * world.logits["ctr"] + by_user - 1), world.scores())
    assert {found(decision, "ctr", metric).verdict for metric in ("gauc", "ndcg@10")} == {"worse"} or found(
        decision, "ctr", "auc"
    ).verdict == "worse"
    assert not decision.passed


def test_a_loss_within_the_allowed_one_is_tolerated_and_strictness_asks_for_proof(world: World) -> None:
    champion, worse = world.scores(), world.scores(noise=0.3)
    lenient = CONFIG.model_copy(update={"allowed_loss": dict.fromkeys(("auc", "gauc", "ndcg", "log_loss"), 0.1)})
    decision = world.judge(worse, champion, lenient)
    assert decision.passed
    assert found(decision, "ctr", "auc").verdict == "tolerated"
    few = slice(1_200)
    users = np.asarray(world.rows.user_ids)[few]
    rows = JudgedRows({name: np.asarray(column)[few] for name, column in world.rows.labels.items()}, users)
    one, other = (Scores({k: v[few] for k, v in s.outputs.items()}, "few") for s in (world.scores(), champion))
    open_minded = judge(SCHEMA, rows, one, other, CONFIG, POLICY)
    strict = judge(SCHEMA, rows, one, other, CONFIG.model_copy(update={"strict": True}), POLICY)
    assert open_minded.passed
    assert "these rows cannot exclude losses beyond the allowed ones: GAUC of ctr (up to" in open_minded.warnings[-1]
    assert not strict.passed
    assert strict.warnings == ()
    assert set(open_minded.warnings) <= set(strict.reasons)


def test_both_are_fused_by_one_policy(world: World) -> None:
    champion = world.scores()
    without = Scores({k: v for k, v in champion.outputs.items() if k != "spend"}, "old", {"spend": "it has no spend"})
    decision = world.judge(world.scores(), without)
    assert decision.policy == "0.3 ctr + 1 ctcvr + 0.1 spend"
    assert not [one for one in decision.comparisons if one.metric.startswith("ndcg") or one.output == "spend"]
    reasons = {(one.output, one.metric): one.reason for one in decision.not_compared}
    assert reasons["spend", None] == "not compared with the champion: it has no spend"
    assert reasons[None, "ndcg"] == "fused scores not compared with the champion: it has no spend"


def test_what_the_schema_does_not_name_is_said_and_not_compared(world: World) -> None:
    nobody = JudgedRows(world.rows.labels)
    decision = judge(SCHEMA, nobody, world.scores(), world.scores(), CONFIG, POLICY)
    assert decision.unit == "rows"
    reasons = {(one.output, one.metric): one.reason for one in decision.not_compared}
    assert reasons["ctr", "gauc"] == "the schema names no `ids.user`"
    assert reasons[None, "ndcg"] == "the schema names no `ids.request`"


def test_few_positives_are_not_judged_and_nothing_judged_is_refused(world: World) -> None:
    few = {name: np.asarray(column)[:300] for name, column in world.rows.labels.items()}
    rows = JudgedRows(few, np.arange(300), np.arange(300) // 2)
    scores = Scores({k: v[:300] for k, v in world.scores().outputs.items()}, "few")
    decision = judge(SCHEMA, rows, scores, scores, CONFIG, POLICY)
    positives = int(few["buy"].sum())
    assert positives < 50
    assert decision.passed
    reasons = {(one.output, one.metric): one.reason for one in decision.not_compared}
    assert reasons["cvr", None] == f"{positives} positives; `gate.min_positives` asks for 50"
    assert "users with labels of both classes" in reasons["ctr", "gauc"]
    assert "cvr" not in {one.output for one in decision.comparisons}
    blind = judge(SCHEMA, rows, scores, scores, CONFIG.model_copy(update={"min_positives": 1_000}), POLICY)
    assert not blind.passed
    assert blind.reasons[0].startswith("Nothing could be judged: ctr: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ctr": np.full(NUM_ROWS, np.nan)}, "output 'ctr' of bad must be finite, got nan in row 0"),
        ({"ctr": np.full(7, 0.5)}, r"output 'ctr' of bad must have one value per row \(24000\), got 7"),
        ({"ctr": np.full(NUM_ROWS, 1.5)}, r"must be in \[0, 1\], got 1.5"),
        ({"ctr": None}, r"every output of the schema, got none for \['ctr'\]"),
    ],
)
def test_bad_scores_are_refused(world: World, change: Mapping[str, Any], message: str) -> None:
    changed = {**world.scores().outputs, **change}
    outputs = {name: values for name, values in changed.items() if values is not None}
    with pytest.raises(ValueError, match=message):
        world.judge(Scores(outputs, "bad"), None)


def test_a_decision_is_plain_json_reads_back_and_shows_itself(world: World) -> None:
    decision = world.judge(world.scores("new", ctr=world.random.permutation(world.logits["ctr"])), world.scores("old"))
    text = json.dumps(decision.to_dict(), allow_nan=False)
    assert Decision.from_dict(json.loads(text)) == decision
    console = Console(record=True, width=200, file=StringIO())
    console.print(decision.table())
    shown = console.export_text()
    assert "Gate: new against old: refused" in shown
    assert "ndcg@10" in shown
    assert decision.reasons[0].split(";")[0] in shown.replace("\n", " ")
