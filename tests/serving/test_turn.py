"""Workers take turns, and none is kept from its work for ever."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serving.file_lock import file_lock
from serving.turn import Turn

_AHEAD = "this worker goes ahead out of its turn"


async def test_a_worker_that_is_alone_waits_for_nobody() -> None:
    turn = Turn(None)
    async with turn.taken(), turn.taken():
        pass


async def test_it_is_taken_while_the_block_lasts(tmp_path: Path) -> None:
    path = tmp_path / "turn.lock"
    async with Turn(path).taken():
        with pytest.raises(TimeoutError):
            await _within(0.1, path)
    await _within(60, path)


async def test_who_has_waited_for_long_goes_ahead(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, entered = tmp_path / "turn.lock", False
    async with file_lock(path), Turn(path, patience_seconds=0.1).taken():
        entered = True
    assert entered
    assert caplog.messages == [_AHEAD]


async def test_so_does_who_cannot_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entered = False
    async with Turn(tmp_path / "removed" / "turn.lock").taken():
        entered = True
    assert entered
    assert caplog.messages == [_AHEAD]


async def test_an_error_of_the_work_is_the_callers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TimeoutError, match="of the work"):
        async with Turn(tmp_path / "turn.lock").taken():
            raise TimeoutError("of the work")
    assert caplog.messages == []


async def _within(seconds: float, path: Path) -> None:
    async with asyncio.timeout(seconds), file_lock(path):
        pass
