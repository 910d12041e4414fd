"""Equal values hash alike, different ones do not, whatever the column's type."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ranker.errors import DataError
from training.data_check.hashes import column_hashes, row_hashes

COLUMNS: dict[str, pa.Array] = {
    "integers": pa.array([3, -4, None, 3, 0], pa.int16()),
    "large": pa.array([2**64 - 1, 0, None, 2**64 - 1, 1], pa.uint64()),
    "text": pa.array(["a", "b", None, "a", ""]),
    "codes": pa.array(["a", "b", None, "a", ""]).dictionary_encode(),
    "times": pa.array([5, -6, None, 5, 0], pa.timestamp("ms", "UTC")),
    "days": pa.array([dt.date(2026, 1, 2), dt.date(1950, 1, 1), None, dt.date(2026, 1, 2), dt.date(1970, 1, 1)]),
    "clock": pa.array([1, 2, None, 1, 0], pa.time32("s")),
    "fractions": pa.array([0.5, 1.5, None, 0.5, 0.0]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_equal_values_hash_alike(name: str) -> None:
    found = column_hashes(name, COLUMNS[name])
    assert found.dtype == np.uint64
    assert found[0] == found[3]
    assert len(set(found.tolist())) == 4


def test_rows_differ_where_any_column_does() -> None:
    columns = [np.array(values, np.uint64) for values in ([1, 1, 2, 1], [5, 6, 5, 5])]
    found = row_hashes(columns).tolist()
    assert found[0] == found[3]
    assert len(set(found)) == 3
    assert row_hashes(columns[::-1]).tolist() != found


@pytest.mark.parametrize("value", [b"bytes", [1, 2]])
def test_what_has_no_text_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="'id'"):
        column_hashes("id", pa.array([value]))
