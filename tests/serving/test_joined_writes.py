"""Head and body of an answer leave together, and nothing that was written is lost or late."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from serving.joined_writes import JoinedWrites


class Recorder:
    """A transport that notes what comes."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        """Note some bytes."""
        assert not self.closed
        self.packets.append(data)

    def close(self) -> None:
        """Take nothing more."""
        self.closed = True

    def is_closing(self) -> bool:
        """Whether it takes nothing more."""
        return self.closed


@pytest.fixture
async def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def joined(recorder: Recorder) -> JoinedWrites:
    return JoinedWrites(cast(asyncio.Transport, recorder), asyncio.get_running_loop())


async def test_two_writes_in_one_go_are_one(joined: JoinedWrites, recorder: Recorder) -> None:
    joined.write(b"head,")
    assert recorder.packets == []
    joined.write(b"body")
    assert recorder.packets == [b"head,body"]
    await asyncio.sleep(0)
    assert recorder.packets == [b"head,body"]


async def test_a_single_write_leaves_in_the_next_round(joined: JoinedWrites, recorder: Recorder) -> None:
    for packet in (b"first", b"second"):
        joined.write(packet)
        await asyncio.sleep(0)
        assert recorder.packets[-1] == packet
    assert len(recorder.packets) == 2


async def test_closing_writes_what_waits(joined: JoinedWrites, recorder: Recorder) -> None:
    joined.write(b"refused")
    joined.close()
    assert joined.is_closing()
    assert recorder.packets == [b"refused"]
    joined.close()
    await asyncio.sleep(0)
    assert recorder.packets == [b"refused"]


async def test_who_has_gone_gets_nothing(joined: JoinedWrites, recorder: Recorder) -> None:
    joined.write(b"late")
    recorder.close()
    await asyncio.sleep(0)
    joined.close()
    assert recorder.packets == []
