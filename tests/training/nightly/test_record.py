"""The record of a night: there and back, and in order whatever the clock says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from training.errors import NightlyError
from training.nightly import Outcome, RunRecord, past_runs
from training.nightly.record import RECORD, runs_of

DAY = dt.date(2026, 3, 7)
SUMMARY = {"published": True, "live": None, "rows": {"train": 3}, "auc": 0.625}


def record(number: int = 1, day: dt.date = DAY) -> RunRecord:
    return RunRecord.new(day, "0123456789abcdef", number, "20260306-1-aaaaaa")


def saved(folder: Path, found: RunRecord) -> Path:
    folder.mkdir()
    found.save(folder)
    return folder


def test_there_and_back(tmp_path: Path) -> None:
    one = record(3).with_stage("check", 1.25, SUMMARY).ended(Outcome.FAILED, "no space")
    one.save(tmp_path)
    assert RunRecord.load(tmp_path) == one
    assert [path.name for path in tmp_path.iterdir()] == [RECORD]
    assert RunRecord.load(tmp_path / "nothing") is None


@given(cut=st.integers(1, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_one_is_named(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    record().save(folder)
    path = folder / RECORD
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(NightlyError, match=r"run\.json.*move"):
        RunRecord.load(folder)


def test_the_version_is_of_day_number_and_fingerprint() -> None:
    assert record(12).version == "20260307-12-012345"
    assert record().number == 1


def test_stages_come_and_go() -> None:
    one = record().with_stage("gate", 0.5, SUMMARY).with_stage("export", 2.0, {})
    done = one.done("gate")
    assert done is not None
    assert done.summary == SUMMARY
    assert one.done("publish") is None
    assert one.without("gate", "publish").stages == one.stages[1:]


def test_another_attempt_forgets_how_the_last_one_ended() -> None:
    one = record().ended(Outcome.FAILED, "no space")
    assert one.ended_at is not None
    assert one.again() == record().model_copy(update={"attempts": 2, "started_at": one.started_at})


def test_runs_are_ordered_by_day_and_number_not_by_the_clock(tmp_path: Path) -> None:
    later = record(2).model_copy(update={"started_at": record().started_at - dt.timedelta(days=900)})
    saved(tmp_path / "2026-03-07-2", later)
    saved(tmp_path / "2026-03-07", record(1))
    saved(tmp_path / "2026-03-07-10", record(10))
    saved(tmp_path / "2026-03-06", record(1, dt.date(2026, 3, 6)))
    names = ["2026-03-06", "2026-03-07", "2026-03-07-2", "2026-03-07-10"]
    assert [folder.name for folder, _ in past_runs(tmp_path)] == names
    assert [folder.name for folder, _ in runs_of(tmp_path, DAY)] == names[1:]


def test_damaged_and_unfinished_folders(tmp_path: Path) -> None:
    saved(tmp_path / "2026-03-06", record(1, dt.date(2026, 3, 6)))
    saved(tmp_path / ".2026-03-07.1234abcd.partial", record())
    (saved(tmp_path / "2026-03-07", record()) / RECORD).write_text("{}")
    assert [folder.name for folder, _ in past_runs(tmp_path)] == ["2026-03-06"]
    assert runs_of(tmp_path, dt.date(2026, 3, 6))
    with pytest.raises(NightlyError, match="2026-03-07"):
        runs_of(tmp_path, DAY)
    assert past_runs(tmp_path / "nothing") == []
