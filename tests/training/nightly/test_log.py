"""What a night says, to people and to programs: every line of the file is JSON, whatever happened before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.history import Epoch
from training.nightly.log import LOG, NightLog

EPOCH = Epoch(2, {"ctr": 0.5}, {"ctr": 1.0}, 0.75, {"ctr/auc": 0.75}, 1234.0, 2.5)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]


def test_people_and_programs_are_told_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = NightLog()
    log.say("before there is a folder")
    log.open(tmp_path, date="2026-03-07")
    log.event("published", "version [x] is live: 50%", version="x")
    log.warn("odd", "something is odd")
    log.error("failed", "it failed", exit_code=1)
    log.epoch(EPOCH, best=True)
    text = capsys.readouterr().err
    assert "version [x] is live: 50%\n" in text
    assert "warning: something is odd\n" in text
    assert "error: it failed\n" in text
    assert "epoch 2: loss ctr 0.5000" in text
    found = lines(tmp_path)
    assert [line["event"] for line in found] == ["published", "odd", "failed", "epoch"]
    assert [line["level"] for line in found] == ["info", "warning", "error", "info"]
    assert {line["date"] for line in found} == {"2026-03-07"}
    assert found[0]["version"] == "x"
    assert found[3]["valid"] == {"ctr/auc": 0.75}


def test_json_in_place_of_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = NightLog(as_json=True)
    log.open(tmp_path)
    log.event("started", "night of today", attempt=2)
    log.epoch(EPOCH, best=False)
    printed = capsys.readouterr().err
    assert [json.loads(line) for line in printed.splitlines()] == lines(tmp_path)
    assert len(lines(tmp_path)) == 2


def test_quiet_processes_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for log in (NightLog(quiet=True), NightLog(quiet=True, as_json=True)):
        log.open(tmp_path)
        log.error("failed", "it failed")
        log.epoch(EPOCH, best=True)
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / LOG).exists()


@pytest.mark.parametrize("left", ["", '{"event": "whole"}\n', '{"event": "to'])
def test_it_goes_on_behind_what_stands_there(left: str, tmp_path: Path) -> None:
    (tmp_path / LOG).write_text(left)
    log = NightLog(as_json=True)
    log.open(tmp_path)
    log.event("started", "again")
    assert json.loads((tmp_path / LOG).read_text("utf-8").splitlines()[-1])["event"] == "started"
    assert (tmp_path / LOG).read_text("utf-8").startswith(left)


def test_a_file_that_cannot_be_written_is_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / LOG).mkdir()
    log = NightLog()
    log.open(tmp_path)
    log.event("started", "again")
    log.event("stage", "the next one")
    text = capsys.readouterr().err
    assert text.count("cannot be written") == 1
    assert text.endswith("the next one\n")


def test_numbers_that_are_none_are_null(tmp_path: Path) -> None:
    log = NightLog(as_json=True)
    log.open(tmp_path)
    log.epoch(Epoch(1, {"ctr": float("nan")}, {"ctr": float("inf")}, 0.5, {}, 1.0, 1.0), best=False)
    assert "NaN" not in (tmp_path / LOG).read_text("utf-8")
    assert lines(tmp_path)[0]["losses"] == {"ctr": None}
