"""Rows taken from encoded columns are those rows, whatever the lengths of their lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings, strategies as st

from ranker.encoded import Bag, SideColumns

LISTS = st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1, max_size=9)
PLACES = st.lists(st.integers(0, 8), max_size=12)


def bag_of(rows: list[list[int]]) -> Bag:
    ids = np.array([row for of_row in rows for row in of_row], np.int32)
    return Bag.of_lengths(ids, np.array([len(row) for row in rows], np.int64))


def rows_of(bag: Bag) -> list[list[int]]:
    ends = np.cumsum(bag.lengths())
    return [bag.ids[end - length : end].tolist() for end, length in zip(ends, bag.lengths(), strict=True)]


@settings(deadline=None)
@given(rows=LISTS, places=PLACES)
def test_taking(rows: list[list[int]], places: list[int]) -> None:
    places = [place % len(rows) for place in places]
    assert rows_of(bag_of(rows).take(np.array(places, np.int64))) == [rows[place] for place in places]
    firsts = np.arange(len(rows), dtype=np.int32) * 7
    assert rows_of(Bag(firsts).take(np.array(places, np.int64))) == [[7 * place] for place in places]


@settings(deadline=None)
@given(parts=st.lists(LISTS, min_size=1, max_size=4))
def test_putting_together(parts: list[list[list[int]]]) -> None:
    whole = [row for part in parts for row in part]
    assert rows_of(Bag.concat([bag_of(part) for part in parts])) == whole
    single = Bag(np.array([5, 6, 7], np.int32))
    assert Bag.concat([single, single]).offsets is None
    assert rows_of(Bag.concat([single, bag_of(whole)])) == [[5], [6], [7], *whole]


def test_tensors_are_feature_major() -> None:
    side = SideColumns((Bag(np.array([5, 6], np.int32)), bag_of([[1, 2, 3], []])), np.zeros((2, 4), np.float32))
    tensors = side.tensors()
    assert tensors.ids.tolist() == [5, 6, 1, 2, 3]
    assert tensors.lengths.tolist() == [1, 1, 3, 0]
    assert [str(tensor.dtype) for tensor in tensors] == ["torch.int64", "torch.int64", "torch.float32"]


def test_a_side_without_features_has_its_rows() -> None:
    side = SideColumns((), np.zeros((3, 0), np.float32)).take(np.array([2, 0]))
    tensors = side.tensors()
    assert [list(tensor.shape) for tensor in tensors] == [[0], [0], [2, 0]]
