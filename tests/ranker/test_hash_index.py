"""Hashes are found where they are listed, and nowhere else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from ranker.hash_index import NOWHERE, HashIndex

HASHES = st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5), st.integers(2**64 - 3, 2**64 - 1))


@given(st.lists(HASHES, max_size=70), st.lists(HASHES, max_size=40))
def test_the_first_of_equal_hashes_is_found(listed: list[int], asked: list[int]) -> None:
    index = HashIndex(np.array(listed, np.uint64))
    expected = [listed.index(each) if each in listed else NOWHERE for each in listed + asked]
    assert index.find(np.array(listed + asked, np.uint64)).tolist() == expected
    assert [index.find_one(each) for each in listed + asked] == expected
