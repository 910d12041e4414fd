"""Large tensors on large pages of memory, so that looking rows up at random finds them by fewer steps."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from torch import Tensor

# From Linux's mman-common.h.
_HUGE_PAGE, _COLLAPSE = 14, 25
_PAGE_BYTES = 2 * 2**20


def use_huge_pages(tensors: Iterable[Tensor]) -> int:
    """Ask the system to keep tensors on pages of 2 MiB. Only a hint: nothing else changes, and it may be refused.

    Linux from 6.1 on moves them at once, some seconds per GiB; older ones do it little by little, others not at all.

    Args:
        tensors: On the CPU; those that fill no such page are left alone.

    Returns:
        Bytes that were moved at once.

    Example:
        >>> import torch
        >>> use_huge_pages([torch.zeros(3)])
        0
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is None:
        return 0
    moved = 0
    for tensor in tensors:
        begin = -(-tensor.data_ptr() // _PAGE_BYTES) * _PAGE_BYTES
        size = (tensor.data_ptr() + tensor.nbytes - begin) // _PAGE_BYTES * _PAGE_BYTES
        if size > 0:
            place = ctypes.c_void_p(begin), ctypes.c_size_t(size)
            madvise(*place, _HUGE_PAGE)
            moved += size if madvise(*place, _COLLAPSE) == 0 else 0
    return moved
