"""A change of family is a change of meaning; a change within one is not."""

from __future__ import annotations

import pyarrow as pa
import pytest

from training.data_check.families import UNKNOWN, family


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(9, 2)], "number"),
        ([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], "text"),
        ([pa.bool_()], "boolean"),
        ([pa.date32(), pa.timestamp("ns"), pa.timestamp("s", "UTC")], "time"),
        ([pa.null()], UNKNOWN),
        ([pa.list_(pa.int8()), pa.large_list(pa.float64()), pa.list_(pa.int8(), 3)], "list of number"),
        ([pa.list_view(pa.string()), pa.large_list_view(pa.string())], "list of text"),
        ([pa.binary()], "binary"),
    ],
)
def test_families(kinds: list[pa.DataType], expected: str) -> None:
    assert {family(kind) for kind in kinds} == {expected}
