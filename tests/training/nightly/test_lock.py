"""The lock: of one process, gone with it, and plain about who holds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.errors import AlreadyRunning, NightlyError
from training.nightly.lock import locked

HOLD = """
import sys
from pathlib import Path
from training.nightly.lock import locked
with locked(Path(sys.argv[1]), "folder"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / ".lock"


def test_another_process_has_to_wait_until_the_holder_is_gone(path: Path, repository: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(AlreadyRunning, match=f"folder is in use.*process {holder.pid}, since "),
            locked(path, "folder"),
        ):
            pass
        holder.kill()  # -9: it cannot clean up
        holder.wait()
        with locked(path, "folder"):
            assert path.read_text().startswith(f"process {os.getpid()}, since ")


def test_it_is_free_after_the_block_and_after_an_error(path: Path) -> None:
    with pytest.raises(KeyError), locked(path, "folder"):
        raise KeyError
    with locked(path, "folder"), pytest.raises(AlreadyRunning, match=str(os.getpid())), locked(path, "folder"):
        pass
    with locked(path, "folder"):
        pass


def test_a_shorter_holder_leaves_nothing_of_a_longer_one(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("process 123456789012345678901234567890, since 2026-01-01 00:00:00 UTC, and more than that\n")
    with locked(path, "folder"):
        assert path.read_text().count("\n") == 1
        assert path.read_text().endswith(" UTC\n")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NightlyError, match=r"the registry cannot be written: .*file.*give another folder"):  # noqa: SIM117
        with locked(tmp_path / "file" / ".lock", "the registry"):
            pass
