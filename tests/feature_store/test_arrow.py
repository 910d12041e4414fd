"""Arrow columns as plain ones: every type that people have, and a clear word on those that do not work."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feature_store import InvalidInput
from feature_store.arrow import column_type, key_text, plain, unix_seconds

MOMENT = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)

CASES: list[tuple[pa.Array, str, list[Any]]] = [
    (pa.array([1, None, -3], pa.int8()), "int", [1, None, -3]),
    (pa.array([2**64 - 1, None], pa.uint64()), "int", [2**64 - 1, None]),
    (pa.array([7], pa.uint32()), "int", [7]),
    (pa.array([Decimal(12), None], pa.decimal128(9, 0)), "int", [12, None]),
    (pa.array([Decimal("1.50")], pa.decimal128(9, 2)), "float", [1.5]),
    (pa.array([Decimal(10**20)], pa.decimal256(30, 0)), "float", [1e20]),
    (pa.array([1.5, None, math.nan], pa.float32()), "float", [1.5, None, None]),
    (pa.array([np.float16(0.5)], pa.float16()), "float", [0.5]),
    (pa.array([True, None]), "bool", [True, None]),
    (pa.array(["x", None, ""], pa.large_string()), "string", ["x", None, ""]),
    (pa.array(["x", None], pa.string_view()), "string", ["x", None]),
    (pa.array([date(2024, 2, 29), None]), "string", ["2024-02-29", None]),
    (pa.array([MOMENT], pa.timestamp("us", "UTC")), "string", ["2024-02-29 12:30:00.000000Z"]),
    (pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("s")), "string", ["2024-02-29 12:30:00"]),
    (pa.array([time(1, 2, 3)], pa.time32("s")), "string", ["01:02:03"]),
    (pa.array([timedelta(seconds=2)], pa.duration("s")), "string", ["2"]),
    (pa.array(["x", None, "x"]).dictionary_encode(), "string", ["x", None, "x"]),
    (pa.array([5, 6]).dictionary_encode(), "int", [5, 6]),
    (pa.array([[1, None], None, []], pa.list_(pa.uint8())), "int_list", [[1, None], None, []]),
    (pa.array([[1.5, 2.5]], pa.list_(pa.float32(), 2)), "float_list", [[1.5, 2.5]]),
    (pa.array([["a"], None], pa.large_list(pa.large_string())), "string_list", [["a"], None]),
    (pa.array([["a", "b"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), "string_list", [["a", "b"]]),
    (pa.array([[2**63]], pa.list_(pa.uint64())), "int_list", [[2**63]]),
]


@pytest.mark.parametrize(("array", "kind", "expected"), CASES, ids=[str(case[0].type) for case in CASES])
def test_types_that_work(array: pa.Array, kind: str, expected: list[Any]) -> None:
    assert column_type("c", array.type) == kind
    assert plain("c", array).to_pylist() == expected
    assert plain("c", array.slice(1)).to_pylist() == expected[1:]


@pytest.mark.parametrize(
    ("kind", "fix"),
    [
        (pa.null(), "cast it to the type it should have"),
        (pa.binary(), "cast it to a string"),
        (pa.struct([("x", pa.int8())]), "each of its fields as a column of its own"),
        (pa.map_(pa.string(), pa.int8()), "each of its fields as a column of its own"),
        (pa.list_view(pa.int8()), "cast it to list<int8>"),
        (pa.list_(pa.bool_()), "cast its elements"),
        (pa.list_(pa.date32()), "cast its elements"),
        (pa.list_(pa.list_(pa.int8())), "cast its elements"),
    ],
    ids=str,
)
def test_types_that_do_not(kind: pa.DataType, fix: str) -> None:
    with pytest.raises(InvalidInput, match="column 'c' must hold numbers") as caught:
        column_type("c", kind)
    assert str(kind) in str(caught.value)
    assert fix in str(caught.value)
    assert "--columns" in str(caught.value)


@pytest.mark.parametrize(
    "array", [pa.array([1.0, math.inf]), pa.array([[1.0], [-math.inf]]), pa.array([math.inf], pa.float32())], ids=str
)
def test_infinite_numbers_are_refused(array: pa.Array) -> None:
    with pytest.raises(InvalidInput, match="column 'c' must be finite"):
        plain("c", array)


def test_infinity_under_a_null_does_not_count() -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2]), pa.array([math.inf, 1.0]), mask=pa.array([True, False]))
    assert plain("c", lists).to_pylist() == [None, [1.0]]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([5, -6, None], pa.int32()), ["5", "-6", None]),
        (pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.array([Decimal(12)], pa.decimal128(9, 0)), ["12"]),
    ],
    ids=str,
)
def test_keys_are_text(array: pa.Array, expected: list[str | None]) -> None:
    assert key_text("id", array).to_pylist() == expected


@pytest.mark.parametrize("kind", [pa.float64(), pa.bool_(), pa.date32(), pa.binary(), pa.list_(pa.int8())], ids=str)
def test_keys_of_other_types_are_refused(kind: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match="key column 'id' must hold strings or integers"):
        key_text("id", pa.array([], kind))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([MOMENT], pa.timestamp("ns", "Europe/Copenhagen")),
        pa.array([MOMENT.replace(tzinfo=None)], pa.timestamp("ms")),
        pa.array([int(MOMENT.timestamp())]),
        pa.array([MOMENT.timestamp()]),
    ],
    ids=str,
)
def test_event_times_are_unix_seconds(array: pa.Array) -> None:
    assert unix_seconds("t", array).tolist() == [MOMENT.timestamp()]


def test_a_date_is_its_midnight() -> None:
    assert unix_seconds("t", pa.array([date(1970, 1, 2)])).tolist() == [86_400.0]


@pytest.mark.parametrize("array", [pa.array([1.0, None]), pa.array([math.nan]), pa.array([math.inf])], ids=str)
def test_event_times_are_there_and_finite(array: pa.Array) -> None:
    with pytest.raises(InvalidInput, match="event-time column 't' must not be null or infinite"):
        unix_seconds("t", array)


def test_event_times_are_not_text() -> None:
    with pytest.raises(InvalidInput, match="event-time column 't' must hold timestamps, dates or unix seconds, got"):
        unix_seconds("t", pa.array(["2024-01-01"]))
