"""Checkpoints: whole or not there, hashed, the newest few."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import Tensor

from training.checkpoint import Checkpoints, load_checkpoint
from training.errors import CheckpointError

STATE = {"network/a": torch.arange(6.0).view(2, 3), "step/count": torch.tensor(7), "random/cpu": torch.arange(5).byte()}
BEST = {"network/a": torch.full((2, 3), 0.5)}
FACTS: dict[str, Any] = {"epoch": 2, "rows": 130, "losses": {"sum": [0.1, 1e-300], "count": [3.0, 0.0]}}


def save(checkpoints: Checkpoints, step: int, best_id: str = "epoch 1", state: dict[str, Tensor] | None = None) -> Path:
    return checkpoints.save(step, STATE if state is None else state, FACTS, BEST, best_id)


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def test_there_and_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "deep" / "checkpoints")
    assert checkpoints.latest() is None
    path = save(checkpoints, 11)
    found = checkpoints.latest()
    assert found is not None
    assert found.path == path
    for saved, read in ((STATE, found.state), (BEST, found.best)):
        assert saved.keys() == read.keys()
        assert all(
            torch.equal(tensor, read[name]) and tensor.dtype == read[name].dtype for name, tensor in saved.items()
        )
    assert found.facts == {**FACTS, "best_id": "epoch 1"}
    checkpoints.clear()
    assert checkpoints.latest() is None
    checkpoints.clear()


@given(values=st.lists(st.floats(width=32), min_size=1, max_size=9))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tensors_come_back_bit_by_bit(values: list[float], tmp_path_factory: pytest.TempPathFactory) -> None:
    tensor = torch.tensor(values)
    found = load_checkpoint(save(Checkpoints(tmp_path_factory.mktemp("run")), 1, state={"x": tensor})).state["x"]
    assert found.numpy().tobytes() == tensor.numpy().tobytes()


@pytest.mark.parametrize("keep", [1, 3])
def test_the_newest_few_stay(keep: int, tmp_path: Path) -> None:
    for step in (2, 30, 4, 1000, 1001):
        save(Checkpoints(tmp_path, keep), step)
    assert steps(tmp_path) == [2, 4, 1000, 1001][-keep:]  # that of step 30 lay ahead of a run that went on from 2
    with pytest.raises(ValueError, match="`keep`"):
        Checkpoints(tmp_path, 0)


def test_a_step_is_saved_once(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = save(checkpoints, 5)
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    assert save(checkpoints, 5, state={}) == path
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before


def test_an_unchanged_best_is_linked_not_copied(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=3)
    inodes = [
        (save(checkpoints, step, best_id) / "best.safetensors").stat().st_ino
        for step, best_id in enumerate(["epoch 1", "epoch 1", "epoch 2"])
    ]
    assert inodes[0] == inodes[1] != inodes[2]
    Checkpoints(tmp_path, keep=1).save(9, STATE, FACTS, BEST, "epoch 2")
    found = checkpoints.latest()
    assert found is not None
    assert torch.equal(found.best["network/a"], BEST["network/a"])  # the file of those removed lives on


@pytest.mark.parametrize("file", ["state.safetensors", "best.safetensors", "facts.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["gone", "shorter", "altered"])
def test_a_damaged_one_is_passed_over(file: str, damage: str, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    whole, damaged = save(checkpoints, 1), save(checkpoints, 2, "epoch 2")
    path = damaged / file
    content = path.read_bytes()
    path.unlink()
    if damage == "shorter":
        path.write_bytes(content[:-1])
    elif damage == "altered":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with pytest.raises(CheckpointError, match=f"{damaged.name}.*"):
        load_checkpoint(damaged)
    found = checkpoints.latest()
    assert found is not None
    assert found.path == whole


def test_damaged_ones_ahead_do_not_push_out_new_ones(tmp_path: Path) -> None:
    """With one to keep, a damaged checkpoint must not be the one that is kept."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    (save(checkpoints, 50) / "facts.json").write_text("{}")
    assert checkpoints.latest() is None
    save(checkpoints, 3)
    found = checkpoints.latest()
    assert found is not None
    assert steps(tmp_path) == [3]


def test_what_a_killed_process_left_is_not_read_and_goes(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    path = save(checkpoints, 1)
    os.rename(path, tmp_path / ".step-000000001.0a1b2c3d.partial")
    assert checkpoints.latest() is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_leaves_the_earlier_ones(small_disk: Path) -> None:
    checkpoints = Checkpoints(small_disk / "checkpoints", keep=2)
    path = save(checkpoints, 1)
    with pytest.raises(CheckpointError, match=r"step-000000002' cannot be written.*[Ss]pace|full"):
        save(checkpoints, 2, state={"x": torch.zeros(1_000_000)})
    found = checkpoints.latest()
    assert found is not None
    assert found.path == path
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    save(checkpoints, 2)
    assert steps(path.parent) == [1, 2]


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps([]))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path)
