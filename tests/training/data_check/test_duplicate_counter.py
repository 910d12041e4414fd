"""Repeated rows are counted exactly up to a number of rows, and without bias beyond."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pandas.util import hash_array

from training.data_check.duplicate_counter import DuplicateCounter, Duplicates


def counted(numbers: np.ndarray, capacity: int, batch: int = 1_009) -> Duplicates:
    counter = DuplicateCounter(capacity)
    for start in range(0, len(numbers), batch):
        counter.add(hash_array(numbers[start : start + batch].astype(np.uint64)))
        assert counter._num_held <= capacity
    return counter.counted(("row",))


@given(st.lists(st.integers(0, 50), max_size=200), st.integers(1, 77))
def test_exact_while_all_fit(numbers: list[int], batch: int) -> None:
    found = counted(np.array(numbers, np.int64), capacity=200, batch=batch)
    assert found.exact
    assert (found.num_rows, found.num_repeated) == (len(numbers), len(numbers) - len(set(numbers)))


def test_unbiased_beyond() -> None:
    random = np.random.default_rng(8)
    numbers = random.permutation(np.concatenate([np.arange(40_000), random.choice(40_000, 4_000, replace=False)]))
    found = counted(numbers, capacity=3_000)
    assert not found.exact
    assert 1_000 < found.num_rows <= 3_000
    assert found.share == pytest.approx(4_000 / 44_000, abs=0.03)
    assert counted(np.arange(9_001), capacity=500).num_repeated == 0


def test_no_rows() -> None:
    found = DuplicateCounter(5).counted(("row",))
    assert found.exact
    assert found.share == 0
