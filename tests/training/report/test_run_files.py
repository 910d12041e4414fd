"""What is read is what was written."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.training.report.conftest import TODAY
from training.report.run_files import WRITERS, RunFiles


def test_every_file_is_read(run_folder_of_night: Path) -> None:
    found = RunFiles.read(run_folder_of_night)
    assert found.problems == {}
    assert None not in [getattr(found, field.name) for field in dataclasses.fields(found)]
    assert found.date == TODAY.isoformat()


def test_metrics_gates_and_history_survive_the_way_through_json(run_folder_of_night: Path) -> None:
    found = RunFiles.read(run_folder_of_night)
    assert found.metrics is not None
    assert found.gates is not None
    assert found.history is not None
    written = {
        "metrics.json": {"valid": found.metrics.valid.to_dict(), "test": found.metrics.test.to_dict()},
        "gates.json": dataclasses.asdict(found.gates),
        "history.json": found.history.to_dict(),
    }
    for name, content in written.items():
        assert json.loads(json.dumps(content)) == json.loads((run_folder_of_night / name).read_text())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"epochs": 3}', b"\xff\xfe", b"a: b: c"])
def test_damaged_files_are_problems_not_errors(content: bytes, tmp_path: Path) -> None:
    names = [*WRITERS, "run.json"]
    for name in [*names, "config.yaml"]:
        (tmp_path / name).write_bytes(content)
    found = RunFiles.read(tmp_path)
    assert set(names) <= set(found.problems)
    assert all(f"{name} cannot be read" in found.problems[name] for name in names)


def test_reasons_tell_a_stage_that_is_not_done_from_a_file_that_is_not_there(night: Path, tmp_path: Path) -> None:
    (night / "gate.json").unlink()
    assert RunFiles.read(night).why_absent("gate.json") == "stage gate left no gate.json"
    assert RunFiles.read(tmp_path).why_absent("gate.json") == "the run did not get through stage gate"


def test_the_folder_names_the_night_where_the_record_does_not(night: Path) -> None:
    (night / "run.json").unlink()
    assert RunFiles.read(night).date == night.name
