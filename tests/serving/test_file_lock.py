"""One process at a time has a file's lock, and it ends with the process."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from serving.file_lock import file_lock

_HOLD = """
import asyncio, sys
from pathlib import Path
from serving.file_lock import file_lock

async def hold():
    async with file_lock(Path(sys.argv[1])):
        print("held", flush=True)
        await asyncio.sleep(3600)

asyncio.run(hold())
"""


async def test_blocks_never_overlap(tmp_path: Path) -> None:
    inside, most = 0, 0

    async def enter() -> None:
        nonlocal inside, most
        async with file_lock(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(5)))
    assert (inside, most) == (0, 1)


async def test_a_killed_holder_holds_it_no_more(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", _HOLD, str(path)]
    holder = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.15), file_lock(path):
            pass
    holder.kill()
    async with file_lock(path):
        pass
    await holder.wait()


async def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(LookupError):
            async with file_lock(tmp_path / "lock"):
                raise LookupError


async def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with file_lock(tmp_path / "nowhere" / "lock"):
            pass
