"""Sections show the figures of the files, say what they are, and where there is none a dash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.training.report.conftest import TODAY, record, write
from training.report.calibration import calibration_panel
from training.report.changes import changes_panel
from training.report.comparison import comparison_panel
from training.report.data import data_panel
from training.report.gates import gate_panel
from training.report.panel import UNKNOWN, Panel, Table
from training.report.quality import quality_panel
from training.report.run_files import RunFiles
from training.report.stages import stages_panel
from training.report.training import training_panel

Change = Callable[[str, Mapping[str, Any]], None]


@pytest.fixture(scope="module")
def run(run_folder_of_night: Path) -> RunFiles:
    return RunFiles.read(run_folder_of_night)


@pytest.fixture(scope="module")
def before(previous_folder: Path) -> RunFiles:
    return RunFiles.read(previous_folder)


def tables(panel: Panel) -> list[Table]:
    return [part for part in panel.parts if isinstance(part, Table)]


def rows(table: Table) -> dict[str, list[str]]:
    """Texts of each row by that of its first cell."""
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_every_row_has_a_cell_for_each_column(run: RunFiles, before: RunFiles) -> None:
    panels = [*comparison_panel(run), *data_panel(run, before), *changes_panel(run, before), *training_panel(run)]
    panels += [*quality_panel(run), *calibration_panel(run), *gate_panel(run), *stages_panel(run)]
    assert len(panels) == 8
    for table in (table for panel in panels for table in tables(panel)):
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_comparison_shows_every_figure_of_the_gate(run: RunFiles) -> None:
    assert run.decision is not None
    (panel,) = comparison_panel(run)
    compared, floors = tables(panel)
    assert len(compared.rows) == len(run.decision.comparisons)
    outputs = [row[0].text for row in compared.rows]
    assert outputs == sorted(outputs, key=outputs.index)  # together
    assert len(floors.rows) == len(run.decision.floors)
    better = [row for row in compared.rows if row[-1].text == "better"]
    assert better
    assert all(row[4].tone == "up" and row[4].text.startswith("+") for row in better)
    assert {remark.text for remark in panel.remarks} >= {f"{n.reason}." for n in run.decision.not_compared}


def test_a_broken_floor_is_open_and_marked(night: Path, change: Change) -> None:
    floors = json.loads((night / "gate.json").read_text())["floors"]
    change("gate.json", {"floors": [{**floors[0], "verdict": "broken"}, *floors[1:]]})
    (panel,) = comparison_panel(RunFiles.read(night))
    table = tables(panel)[-1]
    assert not table.folded
    assert table.rows[0][-1].tone == "down"
    assert "1 broken" in table.title


def test_without_a_champion_only_floors_are_shown(night: Path, change: Change) -> None:
    change("gate.json", {"champion_version": None, "comparisons": []})
    (panel,) = comparison_panel(RunFiles.read(night))
    assert panel.title == "Does it keep within the floors?"
    assert len(panel.parts) == 1


def test_data_hold_labels_and_features_beside_those_before(run: RunFiles, before: RunFiles) -> None:
    (panel,) = data_panel(run, before)
    labels, features = tables(panel)
    assert rows(labels)["ctr"][:2] == ["click", "700"]
    assert rows(labels)["ctr"][-1] == rows(labels)["ctr"][-2]  # the data are the same
    assert run.profile is not None
    assert list(rows(features)) == list(run.profile.features)
    assert rows(features)["price"][-1] == "0.000"
    assert features.title.endswith("none has moved beyond chance")


def test_the_feature_that_moved_most_is_named(run: RunFiles, before: RunFiles) -> None:
    assert before.profile is not None
    known = before.profile.features
    older = before.profile.model_copy(update={"features": {**known, "price": known["hour"]}})
    (_, features) = tables(next(data_panel(run, replace(before, profile=older))))
    assert ": price has moved most, by " in features.title
    moved = {row[0].text: row[-1].bar for row in features.rows}
    assert [name for name, bar in moved.items() if bar is not None] == ["price"]


def test_a_feature_that_is_new_has_no_drift(run: RunFiles, before: RunFiles) -> None:
    assert before.profile is not None
    older = before.profile.model_copy(update={"features": {}, "tasks": {}})
    labels, features = tables(next(data_panel(run, replace(before, profile=older))))
    assert rows(features)["price"][-2:] == [UNKNOWN, UNKNOWN]
    assert rows(labels)["ctr"][-1] == UNKNOWN
    assert features.title.startswith("Features (")
    assert "moved" not in features.title


def test_findings_name_their_subject(run: RunFiles) -> None:
    assert run.data_check is not None
    (panel,) = data_panel(run, None)
    assert [(remark.about, remark.level) for remark in panel.remarks] == [
        (finding.subject, finding.severity) for finding in run.data_check.findings
    ]


@pytest.mark.parametrize("part", ["profile", "data_check"])
def test_half_of_the_data_says_why_the_other_is_absent(run: RunFiles, part: str) -> None:
    half = replace(run, profile=None) if part == "profile" else replace(run, data_check=None)
    (panel,) = data_panel(half, None)
    assert f"stage check left no {part}.json" in panel.lead


def test_changes_show_both_nights_and_settings(run: RunFiles, before: RunFiles) -> None:
    (panel,) = changes_panel(run, before)
    figures, settings = tables(panel)
    assert figures.columns[1:3] == (before.date, run.date)
    assert rows(figures)["rows"] == ["700", "700", "0.0 %"]
    assert rows(figures)["mean label of ctr"][-1] == "0.0000"
    assert rows(figures)["AUC of ctr"][0] == UNKNOWN
    assert rows(figures)["training took"] == [UNKNOWN, "2.5 s", UNKNOWN]
    assert rows(settings) == {"training.batch_size": ["32", "64"]}


def test_changes_without_settings_say_so(run: RunFiles, before: RunFiles) -> None:
    same, none = replace(before, settings=run.settings), replace(before, settings=None)
    texts = [next(changes_panel(run, night)).remarks[0].text for night in (same, none)]
    assert texts[0] == "No setting of the experiment changed."
    assert before.date in texts[1]


def test_training_says_what_it_went_on_from(night: Path, run: RunFiles) -> None:
    (panel,) = training_panel(run)
    assert panel.remarks[0].text == "Warm start from run 2026-01-02: 31 rows kept."
    assert run.record is not None
    record(TODAY, ("check",)).with_stage("train", 1.0, {"warm_start": None}).save(night)
    (panel,) = training_panel(RunFiles.read(night))
    assert panel.remarks[0].text == "Started from random weights."


@pytest.mark.parametrize("warm", [None, "warm start from run x"])
def test_training_from_scratch_that_may_not_be_done_is_told(run: RunFiles, warm: str | None) -> None:
    assert run.history is not None
    started = record(TODAY, ("check",)).with_stage("train", 1.0, {"warm_start": warm})
    for best, told in ((1, False), (len(run.history.epochs), warm is None)):
        (panel,) = training_panel(replace(run, record=started, history=replace(run.history, best=best)))
        assert any("may not be done" in remark.text for remark in panel.remarks) is told
        marked = [row[0].text for row in tables(panel)[-1].rows if row[0].note == "kept"]
        assert marked == [str(best)]


def test_training_without_points_has_no_curves(run: RunFiles) -> None:
    assert run.history is not None
    bare = replace(run.history, curve=type(run.history.curve)())
    (panel,) = training_panel(replace(run, history=bare))
    assert len(panel.parts) == 1


def test_quality_has_a_line_for_each_output_and_fused_score(run: RunFiles) -> None:
    assert run.metrics is not None
    (panel,) = quality_panel(run)
    test, valid = tables(panel)
    assert list(rows(test))[:3] == ["ctr", "cvr", "spend"]
    assert "fused score on ctcvr" in rows(test)
    assert rows(test)["ctr"][2] == f"{run.metrics.test['ctr'].auc:.4f}"
    assert rows(test)["spend"][1:3] == [UNKNOWN, UNKNOWN]
    assert valid.folded


def test_calibration_shows_test_and_valid_of_each_output(run: RunFiles) -> None:
    (panel,) = calibration_panel(run)
    (table,) = tables(panel)
    assert [row[0].text for row in table.rows] == ["ctr", "ctr", "cvr", "cvr", "ctcvr", "ctcvr"]
    assert all(" → " in row[4].text for row in table.rows)


def test_thinning_is_noted(night: Path, change: Change) -> None:
    first = json.loads((night / "calibration_report.json").read_text())["outputs"][0]
    change("calibration_report.json", {"outputs": [{**first, "negative_sampling_rate": 0.25, "note": "one class"}]})
    (panel,) = calibration_panel(RunFiles.read(night))
    assert tables(panel)[0].rows[0][1].note == "negatives kept: 0.25"
    assert (panel.remarks[0].about, panel.remarks[0].text) == ("ctr", "one class.")
    write(night, "calibration_report.json", {"outputs": []})
    assert list(calibration_panel(RunFiles.read(night))) == []


def test_gates_show_every_task(run: RunFiles) -> None:
    (panel,) = gate_panel(run)
    drawing = panel.parts[0]
    assert not isinstance(drawing, Table)
    for task in ("ctr", "cvr", "spend"):
        assert task in drawing.svg


def test_stages_say_what_they_found(run: RunFiles) -> None:
    (panel,) = stages_panel(run)
    found = rows(tables(panel)[0])
    assert found["check"][0] == "1.5 s"
    assert found["check"][-1] == "rows: train 490, valid 105, test 105; warnings: 1"
    assert found["gate"][-1] == "passed: yes"
    assert found["train"][-1] == "epochs: 3; rows per second: 1,234"
    assert tables(panel)[0].rows[-1][1].bar == 1.0


def test_attempts_are_told(run: RunFiles) -> None:
    assert run.record is not None
    (panel,) = stages_panel(replace(run, record=run.record.again()))
    assert panel.remarks[0].text.startswith("2 attempts")
