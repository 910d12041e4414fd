"""A builder of item tables as the server sees it: a process that is started, listened to, and ended."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from serving.items.build import BuildError
from serving.items.builder import Order

_NICENESS = 10


class _Line(msgspec.Struct):
    """What a builder tells."""

    rows: int = 0
    problem: str | None = None


async def build_apart(order: Order, stall_seconds: float) -> None:
    """Have a table built by a process of its own; it ends with this call, whatever becomes of it.

    Args:
        order: What to build.
        stall_seconds: How long the builder may get no further before it is killed.

    Raises:
        BuildError: It says why it cannot, was killed, or got no further.
        OSError: No process can be started.
    """
    problem: str | None = None
    async with _started() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(order.line())
        try:
            while line := await asyncio.wait_for(process.stdout.readline(), stall_seconds):
                problem = msgspec.json.decode(line, type=_Line).problem
        except TimeoutError as exc:
            raise BuildError(f"the builder got no further for {stall_seconds:g} s and was ended") from exc
        code = await process.wait()
    if problem is not None:
        raise BuildError(problem)
    if code < 0:
        raise BuildError(f"the builder was killed by signal {-code}")
    if code:
        raise BuildError(f"the builder failed with exit code {code}; its traceback is in the log of this server")


@asynccontextmanager
async def _started() -> AsyncIterator[Process]:
    environment = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "serving.items"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=environment)
    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)  # from here: half of its work is to import libraries
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
