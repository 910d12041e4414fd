"""Nights as processes of their own, which can be killed. Forked from one that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import TracebackType
from typing import Self

WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.0005


class NightProcess:
    """`ranker-train ARGUMENTS` in a process of its own."""

    def __init__(self, process: ForkServerProcess, output: Path) -> None:
        self._process, self._output = process, output

    @property
    def printed(self) -> str:
        """What it has written to standard output and error so far."""
        return self._output.read_text(encoding="utf-8") if self._output.exists() else ""

    @property
    def number(self) -> int:
        """Of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def wait(self) -> int:
        """Its exit code, once it has ended; below 0 the signal that ended it."""
        self._process.join(WAIT_SECONDS)
        assert self._process.exitcode is not None, f"still running:\n{self.printed}"
        return self._process.exitcode

    def wait_until(self, happened: Callable[[], bool]) -> bool:
        """Watch closely until something happened; False if the process ended without it."""
        ends = time.monotonic() + WAIT_SECONDS
        while not happened():
            if not self.running:
                return happened()
            assert time.monotonic() < ends, self.printed
            time.sleep(_POLL_SECONDS)
        return True

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.number, number)

    def kill(self) -> None:
        """`kill -9`, and wait until the kernel has taken it away."""
        self.signal(signal.SIGKILL)
        self._process.join(WAIT_SECONDS)


class Nights:
    """Starts processes; ends those that are left when it is closed."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["training.cli", "training.nightly.job"])
        self._started: list[ForkServerProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._started:
            with suppress(ValueError):
                process.kill()
                process.join(WAIT_SECONDS)

    def start(
        self, arguments: list[str], output: Path, before: Callable[..., None] | None = None, *given: object
    ) -> NightProcess:
        """Start one.

        Args:
            arguments: Of `ranker-train`.
            output: File for what it prints.
            before: A function of a module, called first in the process.
            given: Its arguments.
        """
        process = self._context.Process(target=_run, args=(arguments, str(output), before, given))
        process.start()
        self._started.append(process)
        return NightProcess(process, output)

    def start_two(self, arguments: list[str], folder: Path, first: tuple[object, ...] = ()) -> list[NightProcess]:
        """Start one as two processes of a group on loopback.

        Args:
            arguments: Of `ranker-train`.
            folder: For what they print.
            first: Arguments of `die_at` for the first of them.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
        own = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
        return [
            self.start(arguments, folder / f"rank{rank}.txt", prepare, own[rank], first if rank == 0 else ())
            for rank in range(2)
        ]

    def run(self, arguments: list[str], output: Path) -> tuple[int, str]:
        """Run one to its end; its exit code and what it printed."""
        process = self.start(arguments, output)
        return process.wait(), process.printed


def prepare(environment: dict[str, str], dying: tuple[str, str, int] | tuple[()]) -> None:
    """Be one of several processes, which may have to die."""
    os.environ.update(environment)
    if dying:
        die_at(*dying)


def die_at(kind: str, place: str, times: int) -> None:
    """Have this process killed by `kill -9` in the midst of its work.

    Args:
        kind: Of what it does to a file: `open` for writing, `rename`, `remove`, `mkdir`, `rmtree`.
        place: Part of the file's path.
        times: How often it may do so before; the next time it dies, just before.
    """
    left = times

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event.split(".")[-1] != kind or not any(
            place in os.fsdecode(a) for a in arguments if isinstance(a, (str, bytes, os.PathLike))
        ):
            return
        if kind == "open" and not isinstance(arguments[2], int):
            return
        if kind == "open" and not int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    sys.addaudithook(watch)


def _run(
    arguments: list[str], output: str, before: Callable[..., None] | None, given: tuple[object, ...]
) -> None:  # in the new process
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    import torch

    from training.cli import app

    torch.set_num_threads(1)
    if before is not None:
        before(*given)
    app(arguments)
