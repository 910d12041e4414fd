"""A server with all its processes: started, watched from outside, and stopped to the last of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

_START_SECONDS, _STOP_SECONDS, _GRACE_SECONDS = 180.0, 20.0, 1.0
_LOOK_SECONDS, _BUSY = 1.0, 0.2  # cores that a server without requests may take


class ProcessMemory(NamedTuple):
    """Memory of one process, in MB (1,000,000 bytes).

    Attributes:
        private: What ending it would free (USS).
        proportional: Shared pages divided by those who share them (PSS).
    """

    private: float
    proportional: float


class ServerTree:
    """A process and all that it started."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root

    def cpu_seconds(self) -> float:
        """Processor seconds of all of them so far."""
        total = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:  # ended meanwhile
                continue
            total += times.user + times.system
        return total

    def memory(self) -> list[ProcessMemory]:
        """Of every process, the largest private part first."""
        found: list[ProcessMemory] = []
        for process in self._processes():
            try:
                memory = process.memory_full_info()
            except psutil.NoSuchProcess:
                continue
            found.append(ProcessMemory(memory.uss / 1e6, memory.pss / 1e6))
        return sorted(found, reverse=True)

    def settle(self) -> None:
        """Wait until the processes are idle: servers go on preparing when they answer already."""
        deadline = time.monotonic() + _START_SECONDS
        spent, last = _BUSY, self.cpu_seconds()
        while spent >= _BUSY * _LOOK_SECONDS and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            spent, last = self.cpu_seconds() - last, self.cpu_seconds()

    def stop(self) -> None:
        """Ask the first process to end; end by force what it leaves behind."""
        processes = self._processes()
        if self._root.is_running():
            self._root.send_signal(signal.SIGTERM)
        psutil.wait_procs([self._root], timeout=_STOP_SECONDS)
        _, left = psutil.wait_procs(processes, timeout=_GRACE_SECONDS)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=_STOP_SECONDS)

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, ready: Callable[[], object]
) -> Iterator[ServerTree]:
    """Start a server, wait until it is ready, and stop it in the end.

    Args:
        command: Its first process.
        environment: Variables beside those of this process.
        folder: Where it runs.
        log: File that takes what it prints.
        ready: Asks the server something; raises OSError or RuntimeError while it is not up.

    Raises:
        RuntimeError: It ended, or was not ready in time; quotes its log.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    tree = ServerTree(psutil.Process(process.pid))
    try:
        _wait(process, ready, log)
        yield tree
    finally:
        tree.stop()
        process.wait(timeout=_STOP_SECONDS)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    failure: Exception | None = None
    while process.poll() is None and time.monotonic() < deadline:
        try:
            ready()
        except (OSError, RuntimeError) as exc:
            failure = exc
            time.sleep(0.3)
        else:
            return
    raise RuntimeError(
        f"the server did not become ready ({failure}); its log:\n{log.read_text(errors='replace')[-4000:]}"
    )
