"""What a process holds in memory that no other process shares, and giving back what it needs no longer."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pyarrow as pa


def private_bytes(pid: int | str = "self") -> int:
    """Memory of a process that is its alone, clean or written to, in bytes. Linux only: 0 elsewhere."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def release_freed() -> None:
    """Give freed memory back to the system; some milliseconds. Arrow's, and with GNU's C library all other, too."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
