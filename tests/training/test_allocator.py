"""Memory that a step frees is there for the next one."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys

import pytest

from training.allocator import keep_freed_memory

SCRIPT = """
import resource, sys, torch
from training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(3):
    [torch.ones(5 << 20, dtype=torch.uint8) for _ in range(7)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
[torch.ones(5 << 20, dtype=torch.uint8) for _ in range(7)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_pages_are_not_asked_for_again() -> None:
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, "keep"]
    faults = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults < 35 * 2**20 / resource.getpagesize() / 10


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    assert not keep_freed_memory()
