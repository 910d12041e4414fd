"""Integers are found where they are listed, and nowhere else, whether they lie close together or far apart."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from ranker.hash_index import NOWHERE
from ranker.integer_index import DirectIndex, HashedIntegers, integer_index

LEAST, LARGEST = -(2**63), 2**63 - 1
INTEGERS = (
    st.integers(LEAST, LARGEST) | st.integers(-9, 9) | st.integers(LEAST, LEAST + 9) | st.integers(10**18, LARGEST)
)


@given(
    listed=st.lists(INTEGERS, max_size=40, unique=True)
    | st.lists(st.integers(-9, 30), min_size=13, max_size=40, unique=True)
    | st.lists(st.integers(LARGEST - 40, LARGEST), min_size=13, max_size=40, unique=True),
    asked=st.lists(INTEGERS, max_size=20),
)
def test_an_integer_is_found_where_it_is_listed(listed: list[int], asked: list[int]) -> None:
    index = integer_index(np.array(listed, np.int64), np.arange(len(listed)) + 5)
    found = index.find(np.array(listed + asked, np.int64))
    assert found.dtype == np.int32
    assert found.tolist() == [listed.index(each) + 5 if each in listed else NOWHERE for each in listed + asked]


def test_what_lies_close_together_is_found_by_address() -> None:
    assert isinstance(integer_index(np.arange(7, 4, -1), np.arange(3)), DirectIndex)
    assert isinstance(integer_index(np.array([LEAST, 0, LARGEST]), np.arange(3)), HashedIntegers)
    assert isinstance(integer_index(np.array([], np.int64), np.arange(0)), HashedIntegers)
