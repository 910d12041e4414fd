"""The points at which nights are killed, and that nights survive all of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.kill import Outcome, measure, table
from benchmarks.support.kill_points import PARTIALS, KillPoint, attempt_begins, draw, stage_begins
from training.nightly import RunRecord

STAGES = ("check", "train", "calibrate", "evaluate", "gate", "export", "publish", "materialize")


@pytest.fixture
def record() -> RunRecord:
    record = RunRecord.new(dt.date(2026, 1, 4), "0" * 16, 1, None)
    for place, name in enumerate(STAGES, start=1):
        record = record.with_stage(name, place / 4, {})
    return record


def test_twenty_points_over_all_stages(record: RunRecord) -> None:
    points = draw(record, 12.0, seed=3)
    assert len(points) == 20
    assert {point.logged for point in points} == {*map(stage_begins, STAGES), ""}
    assert {point.pattern for point in points} == {*(pattern for pattern, _ in PARTIALS.values()), ""}
    for point in points:
        done = record.done(point.name.removeprefix("in "))
        assert 0 <= point.delay_seconds <= (done.seconds if done else 12.0)
    assert draw(record, 12.0, seed=3) == points != draw(record, 12.0, seed=4)


def test_a_point_is_reached_when_files_have_come_so_often(tmp_path: Path) -> None:
    point = KillPoint("x", "run/.step-*.partial", times=2)
    looks = iter([True] * 3 + [False] * 9)

    def alive() -> bool:
        (tmp_path / f".step-{next(looks)}.partial").mkdir(exist_ok=True)
        return True

    assert not KillPoint("x", "registry/*").reached(tmp_path, tmp_path / "registry", lambda: False)
    assert point.reached(tmp_path, tmp_path, alive)
    assert {path.name for path in tmp_path.iterdir()} == {".step-True.partial", ".step-False.partial"}


def test_a_stage_is_reached_when_the_log_says_so(tmp_path: Path) -> None:
    point = KillPoint("x", logged=stage_begins("export"), delay_seconds=0.5)
    assert not point.reached(tmp_path, tmp_path, lambda: False)
    (tmp_path / "log.jsonl").write_text('{"event": "stage_started", "stage": "export"}\n')
    assert not KillPoint("x", logged=attempt_begins(2)).reached(tmp_path, tmp_path, lambda: False)
    assert point.sooner().delay_seconds == 0.25
    assert KillPoint("x", logged=stage_begins("export")).reached(tmp_path, tmp_path, lambda: True)
    assert not point.reached(tmp_path, tmp_path, lambda: False)


def test_the_table_names_what_went_wrong() -> None:
    good, bad = (
        Outcome("in train", ["train", "export"], ["step-000000003"]),
        Outcome("x", ["gate"], [], ["another model"]),
    )
    lines = table([asdict(good), asdict(bad)]).splitlines()
    assert lines[2] == "| in train | train, then export | step-000000003 | the same to the last bit, published once |"
    assert lines[3] == "| x | gate | - | another model |"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nights_survive_every_point(tmp_path: Path) -> None:
    assert [outcome for outcome in measure(tmp_path) if outcome.problems] == []
