"""Pages change where a tensor lies, never what it holds."""

from __future__ import annotations

import ctypes

import pytest
import torch

from ranker.huge_pages import use_huge_pages


@pytest.mark.parametrize("rows", [1, 70_001, 300_007])
def test_values_stay(rows: int) -> None:
    table = torch.randn(rows, 16)
    before = table.clone()
    moved = use_huge_pages([table])
    assert moved % 2**21 == 0
    assert 0 <= moved <= table.nbytes
    assert torch.equal(table, before)


def test_a_system_that_knows_no_such_pages_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        """A C library without `madvise`."""

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Nothing())
    assert use_huge_pages([torch.zeros(2**20)]) == 0
