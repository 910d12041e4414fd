"""The first line says what happened and what is live now, for every way a night can end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.training.report.conftest import SUMMARIES, TODAY, record, write
from training.gate import Decision
from training.nightly import Outcome
from training.nightly.stages import STAGES as NIGHTLY_STAGES
from training.report.headline import Headline, facts, headline
from training.report.progress import STAGES, steps
from training.report.run_files import RunFiles

Change = Callable[[str, Mapping[str, Any]], None]

OLD = "20260102-1-cafe00"
NEW = record(TODAY, ()).version


def said(night: Path) -> Headline:
    return headline(RunFiles.read(night))


def test_stages_are_those_of_the_job() -> None:
    assert tuple(NIGHTLY_STAGES) == STAGES


def test_published(night: Path) -> None:
    found = said(night)
    assert (found.status, found.title) == ("published", "The new model is live")
    assert found.text.startswith(f"{NEW} replaces {OLD}: certainly better in ")
    assert found.reasons == ()


def test_many_gains_are_counted_not_listed(night: Path, change: Change) -> None:
    decision = json.loads((night / "gate.json").read_text())
    better = [{**decision["comparisons"][0], "verdict": "better"}] * 5
    change("gate.json", {"comparisons": better})
    assert said(night).text.endswith("and 2 more.")


def test_a_tolerated_loss_is_told(night: Path, change: Change) -> None:
    one = {**json.loads((night / "gate.json").read_text())["comparisons"][0], "difference": -0.0031}
    change("gate.json", {"comparisons": [{**one, "verdict": "tolerated"}]})
    assert said(night).text.endswith("certainly worse in AUC of ctr (−0.0031), by no more than is allowed.")
    change("gate.json", {"comparisons": [{**one, "verdict": "unclear"}]})
    assert said(night).text.endswith("no metric is certainly better, and none worse than is allowed.")
    change("gate.json", {"comparisons": []})
    assert "could not be compared" in said(night).text


def test_the_first_model(night: Path, change: Change) -> None:
    change("gate.json", {"champion_version": None, "comparisons": []})
    record(TODAY, tuple(SUMMARIES), Outcome.PUBLISHED, champion=None).save(night)
    assert "There was no live model" in said(night).text


def test_before_it_is_published_it_only_may(night: Path) -> None:
    record(TODAY, ("check", "train", "calibrate", "evaluate", "gate")).save(night)
    found = said(night)
    assert (found.label, found.title) == ("passed", "The new model may go live")
    assert f"{NEW} is to replace {OLD}" in found.text


@pytest.mark.parametrize("outcome", [None, Outcome.CHAMPION_KEPT])
def test_champion_kept(night: Path, change: Change, outcome: Outcome | None) -> None:
    change("gate.json", {"passed": False, "reasons": ["log loss rose.", "AUC fell."]})
    record(TODAY, ("check", "train", "calibrate", "evaluate", "gate"), outcome).save(night)
    found = said(night)
    assert found.status == "kept"
    assert found.text == f"{OLD} stays live. {NEW} was refused, for 2 reasons:"
    assert found.reasons == ("Log loss rose.", "AUC fell.")


def test_a_first_model_that_is_refused_leaves_nothing_live(night: Path, change: Change) -> None:
    change("gate.json", {"passed": False, "reasons": ["AUC is low."]})
    record(TODAY, tuple(SUMMARIES)[:-2], Outcome.CHAMPION_KEPT, champion=None).save(night)
    found = said(night)
    assert (found.label, found.title) == ("refused", "The first model was refused")
    assert found.text.startswith("Nothing is live.")


def test_bad_data_gives_the_errors_of_the_check(night: Path, change: Change) -> None:
    (night / "gate.json").unlink()
    record(TODAY, (), Outcome.BAD_DATA, "the message").save(night)
    finding = {"severity": "error", "check": "drift", "subject": "price", "message": "it moved", "value": 2, "limit": 1}
    change("data_check.json", {"findings": [finding]})
    found = said(night)
    assert (found.status, found.title) == ("bad", f"The data of {TODAY} are not fit to train on")
    assert found.reasons == ("price: it moved.",)
    assert OLD in found.text


def test_data_that_cannot_be_read_give_the_message(night: Path) -> None:
    (night / "data_check.json").unlink()
    record(TODAY, (), Outcome.BAD_DATA, "column 'age' is missing").save(night)
    found = said(night)
    assert found.title == "The data and the experiment do not agree"
    assert found.reasons == ("Column 'age' is missing.",)


@pytest.mark.parametrize(("outcome", "title"), [(Outcome.FAILED, "Failed"), (Outcome.INTERRUPTED, "Stopped")])
def test_a_run_that_ended_early_names_the_stage(night: Path, outcome: Outcome, title: str) -> None:
    record(TODAY, ("check", "train"), outcome, "no space left").save(night)
    found = said(night)
    assert found.title == f"{title} in stage calibrate"
    assert f"{OLD} stays live." in found.text
    assert found.reasons == ("No space left.",)
    assert [step.name for step in steps(RunFiles.read(night).record) if step.state == "stopped"] == ["calibrate"]


def test_a_failure_after_publishing_says_what_is_live(night: Path) -> None:
    record(TODAY, tuple(SUMMARIES)[:-1], Outcome.FAILED, "store is down").save(night)
    assert said(night).text == f"{NEW} is live already."


def test_a_run_under_way(night: Path) -> None:
    (night / "gate.json").unlink()
    record(TODAY, ("check",)).save(night)
    found = said(night)
    assert (found.status, found.title) == ("open", "Not finished yet")
    assert "Stage train is under way" in found.text


def test_facts_name_versions_and_count_warnings(night: Path) -> None:
    run = RunFiles.read(night)
    assert run.decision is not None
    write(night, "gate.json", Decision.to_dict(run.decision.model_copy(update={"warnings": ("one", "two")})))
    found = dict(facts(RunFiles.read(night)))
    assert found["version"] == NEW
    assert found["live before"] == OLD
    assert found["rows"] == "700"
    assert found["model"] == "mmoe, static"
    assert found["warnings"] == "data 1, gate 2"
