"""A supervisor keeps its workers alive, ends with them, and they with it. Real processes, without a server in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Each worker writes its pid to a file named after its place, then does what the test says.
_PROGRAM = """
import os, select, signal, sys, time
from pathlib import Path
from serving.supervisor import Supervisor

folder = Path(sys.argv[1])

def work(place, lifeline):
    {work}

def begin(place):
    (folder / f"{{place}}.{{os.getpid()}}").touch()

sys.exit(Supervisor(work, 3, {patience}, (folder / 'released').touch).run())
"""
WAITS = "begin(place); select.select([lifeline], [], []); (folder / f'orphan.{place}').touch(); return 0"
DIES = "begin(place); return 5"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); begin(place); time.sleep(600); return 0"
OBEYS = "signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); begin(place); time.sleep(600); return 0"
FAILS = "begin(place); raise ValueError('broken')"

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(work: str, patience: float = 60.0) -> subprocess.Popen[bytes]:
        program = _PROGRAM.format(work=work, patience=patience)
        started.append(subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=60)
    for pid in pids(tmp_path):
        if (
            Path(f"/proc/{pid}/cmdline").exists()
            and str(tmp_path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        ):
            os.kill(pid, signal.SIGKILL)


def pids(folder: Path, place: str = "*") -> list[int]:
    """Processes that have worked at a place."""
    return [int(file.suffix[1:]) for file in folder.glob(f"{place}.*") if file.name[0].isdigit()]


def wait_for(condition: Callable[[], bool]) -> None:
    """The test's own time limit ends a wait in vain."""
    while not condition():
        time.sleep(0.01)


def test_a_worker_that_is_killed_is_replaced(start: Start, tmp_path: Path) -> None:
    start(OBEYS)
    wait_for(lambda: len(pids(tmp_path)) == 3)
    (victim,) = pids(tmp_path, "1")
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(pids(tmp_path, "1")) == 2)
    assert len(pids(tmp_path)) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_workers(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    supervisor = start(OBEYS)
    wait_for(lambda: len(pids(tmp_path)) == 3)
    supervisor.send_signal(number)
    assert supervisor.wait(timeout=60) == 0
    assert (tmp_path / "released").exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(tmp_path))


def test_workers_that_do_not_end_are_killed(start: Start, tmp_path: Path) -> None:
    supervisor = start(DEAF, patience=0.1)
    wait_for(lambda: len(pids(tmp_path)) == 3)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(timeout=60) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids(tmp_path))


def test_told_twice_it_waits_for_nobody(start: Start, tmp_path: Path) -> None:
    supervisor = start(DEAF)
    wait_for(lambda: len(pids(tmp_path)) == 3)
    supervisor.send_signal(signal.SIGTERM)
    wait_for(lambda: (tmp_path / "released").exists())
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(timeout=60) == 1


def test_workers_notice_that_their_supervisor_has_gone(start: Start, tmp_path: Path) -> None:
    supervisor = start(WAITS)
    wait_for(lambda: len(pids(tmp_path)) == 3)
    supervisor.kill()
    wait_for(lambda: len(list(tmp_path.glob("orphan.*"))) == 3)


@pytest.mark.parametrize("work", [DIES, FAILS])
def test_workers_that_die_young_are_started_ever_more_slowly(start: Start, tmp_path: Path, work: str) -> None:
    supervisor = start(work)
    wait_for(lambda: len(pids(tmp_path)) >= 5)
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(timeout=60)
    assert len(pids(tmp_path)) < 30
