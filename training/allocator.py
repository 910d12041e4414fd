"""How the C library hands out memory while training."""

from __future__ import annotations

import ctypes

# From malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 2**20


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its next step needs the same again.

    Left to itself glibc gives tensors of some MiB back to the system and asks for them anew in every step, and the
    system clears every page of them again. Does nothing, and says False, where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # 32 MiB is the most that glibc takes for the size from which tensors get a mapping of their own.
    wanted = ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 2047 * _MIB), (_TOP_PAD, 64 * _MIB))
    taken = [mallopt(name, value) == 1 for name, value in wanted]
    return all(taken)
