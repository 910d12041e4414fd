"""Every row is equally likely, memory is bounded, and batches make no difference."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from training.data_check.row_sample import RowSample


def rows(start: int, stop: int) -> pa.RecordBatch:
    numbers = np.arange(start, stop)
    words = pa.array([f"w{number % 7}" for number in numbers]).dictionary_encode()
    return pa.record_batch({"row": numbers, "word": words})


def sampled(cuts: list[int], size: int, seed: int) -> list[int]:
    sample = RowSample(size, seed)
    for start, stop in pairwise(cuts):
        sample.add(rows(start, stop))
        assert len(sample._priorities) < 2 * size + (stop - start)
    table = sample.table()
    assert table is not None
    assert table["word"].to_pylist() == [f"w{row % 7}" for row in table["row"].to_pylist()]
    found: list[int] = table["row"].to_pylist()
    return found


@given(st.lists(st.integers(1, 997), max_size=9), st.integers(1, 300))
def test_batches_make_no_difference(cuts: list[int], size: int) -> None:
    cuts = sorted({0, 997, *cuts})
    found = sampled(cuts, size, seed=5)
    assert found == sampled([0, 997], size, seed=5)
    assert found == sorted(set(found))
    assert len(found) == size


def test_fewer_rows_are_all_kept() -> None:
    assert sampled([0, 5, 13], size=40, seed=1) == list(range(13))


def test_every_row_is_equally_likely() -> None:
    chosen = np.zeros(60)
    for seed in range(600):
        chosen[sampled([0, 23, 60], 15, seed)] += 1
    assert chosen.mean() == pytest.approx(150)
    assert abs(chosen - 150).max() < 5 * np.sqrt(600 * 0.25 * 0.75)


def test_no_rows() -> None:
    assert RowSample(3, seed=0).table() is None
