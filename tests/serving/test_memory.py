"""Private memory is what a process does not share."""

from __future__ import annotations

import mmap
import os
import time

import numpy as np

from serving.memory import private_bytes, release_freed


def test_memory_that_is_written_to_is_private() -> None:
    before = private_bytes()
    # Mapped anew: the heap of a process that has lived long may have room for it.
    with mmap.mmap(-1, 30_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        block.write(b"x" * len(block))
        assert private_bytes() - before > 20_000_000
        assert private_bytes(os.getpid()) > len(block)


def test_a_forked_process_shares_what_it_does_not_touch() -> None:
    block = bytearray(b"x" * 60_000_000)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(len(block) > 0)
    try:
        assert private_bytes(child) < 30_000_000
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_process_that_has_gone_holds_nothing() -> None:
    assert private_bytes(2**22 + 1) == 0


def test_freed_memory_goes_back_to_the_system() -> None:
    blocks = [np.ones(100_000, np.uint8) for _ in range(800)]  # too small to be mapped one by one
    last = np.ones(100_000, np.uint8)  # keeps what is before it from being the end of the heap
    del blocks
    before = private_bytes()
    release_freed()
    assert before - private_bytes() > 40_000_000
    assert last.all()
