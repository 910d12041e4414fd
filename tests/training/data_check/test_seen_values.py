"""Exact up to a number of values; beyond, a fair sample of the values with exact counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from training.data_check.seen_values import SeenValues, ValueSketch


def seen(batches: list[list[str | None]], capacity: int) -> SeenValues:
    sketch = ValueSketch(capacity)
    for batch in batches:
        counted = pa.array(batch, pa.string()).value_counts()
        sketch.add(counted.field("values"), counted.field("counts"))
    return sketch.seen()


WORDS = st.lists(st.lists(st.one_of(st.none(), st.text(max_size=2)), max_size=40), max_size=6)


@given(WORDS, st.integers(1, 30))
def test_counts_are_exact_whatever_is_left_out(batches: list[list[str | None]], capacity: int) -> None:
    exact = Counter(word for batch in batches for word in batch if word is not None)
    found = seen(batches, capacity)
    assert len(found.counts) <= capacity
    assert all(exact[word] == count for word, count in found.counts.items())
    assert found.complete == (len(exact) <= capacity)
    assert not found.complete or found.counts == exact


@given(WORDS, WORDS, st.integers(2, 9))
def test_two_sets_are_comparable_below_the_smaller_bound(
    one: list[list[str | None]], other: list[list[str | None]], capacity: int
) -> None:
    a, b = seen(one, capacity), seen(other, 100)
    exact = {word for batch in other for word in batch if word is not None}
    assert {word for word in b.below(a.fraction) if word in a.counts} == exact & a.counts.keys()


def test_many_values_are_estimated_in_bounded_memory() -> None:
    sketch, words = ValueSketch(500), [f"value {number}" for number in range(20_011)]
    for start in range(0, len(words), 700):
        sketch.add(pa.array(words[start : start + 700]), pa.array([3] * len(words[start : start + 700])))
        assert sum(table.num_rows for table in sketch._partial) <= 4 * 500
    found = sketch.seen()
    assert found.num_distinct == pytest.approx(20_011, rel=4 / np.sqrt(500))
    assert set(found.counts.values()) == {3}


def test_most_frequent_first_ties_by_value() -> None:
    assert list(seen([["b", "a", "c"], ["c"]], 5).counts) == ["c", "a", "b"]


def test_survives_json() -> None:
    found = seen([[f"w{number}" for number in range(300)]], 7)
    again = SeenValues.model_validate_json(found.model_dump_json())
    assert again == found
    assert again.below(found.fraction) == found.counts
    assert len(again.below(found.fraction / 3)) < 7
