"""One value has one text, found by itself or as a column."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, strategies as st

from ranker.canonical_text import text, value_text
from ranker.columns import column
from ranker.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
FLOATS = st.floats(allow_infinity=False) | st.floats(-1e11, 1e11) | st.floats(-1e-3, 1e-3)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | FLOATS | TEXTS | st.dates()


@given(value=SCALARS)
@example(value=-0.0)
@example(value=float(2**63))
@example(value=-float(2**63))
@example(value=1e-4)
@example(value=999_999_999.5)
def test_the_text_of_a_value_is_that_of_its_column(value: Any) -> None:
    assert value_text("c", value) == text("c", column({"c": [value]}, "c"))[0].as_py()


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, float("inf"), float("-inf"), b"a", [1], "\ud800", object()])
def test_what_has_no_text_is_named(value: Any) -> None:
    with pytest.raises(DataError, match="column 'c' must hold"):
        value_text("c", value)
