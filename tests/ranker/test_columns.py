"""Raw columns: one value has one text, one number, one list, however it arrives; what fits nowhere is refused."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from ranker.columns import Columns, column, lists, num_rows, numbers, text
from ranker.errors import DataError

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALAR = st.one_of(st.none(), TEXT, INT64, st.booleans(), st.floats(allow_infinity=False), st.dates())


def texts(values: Any) -> list[str | None]:
    found = text("c", column({"c": values}, "c"))
    assert not (pa.types.is_dictionary(found.type) and found.dictionary.null_count)
    result: list[str | None] = found.to_pylist()
    return result


# ---------------------------------------------------------------------------------------------------------- text

FIVES: list[Any] = [
    [5],
    ["5"],
    [5.0],
    [Decimal("5.00")],
    (5,),
    np.array([5], np.int8),
    np.array([5], np.uint64),
    np.array([5], ">i8"),
    np.array([5.0], np.float16),
    np.array([5.0], np.float32),
    np.array(["5"]),
    np.array([5], object),
    pd.Series([5], dtype="Int16"),
    pd.Series([5.0], dtype="Float32"),
    pd.Series(["5"], dtype="string"),
    pd.Series(["5"], dtype=object),
    pd.Series([5], dtype="category"),
    pd.Series(["5"], dtype="category"),
    pd.Series([5], dtype=pd.ArrowDtype(pa.uint16())),
    pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array([["5"], []], pa.string()))),
    pa.array([5], pa.uint8()),
    pa.array(["5"], pa.large_string()),
    pa.array(["5"], pa.string_view()),
    pa.array([Decimal(5)], pa.decimal128(20, 0)),
    pa.array([Decimal(5)], pa.decimal256(40, 3)),
    pa.array([5]).dictionary_encode(),
    pa.array(["5"], pa.large_string()).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array([5.0])),
    pa.chunked_array([[], ["5"]], pa.string()),
]


@pytest.mark.parametrize("values", FIVES, ids=lambda values: f"{type(values).__name__}-{getattr(values, 'dtype', '')}")
def test_five_is_five(values: Any) -> None:
    assert texts(values) == ["5"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "1"),
        (False, "0"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (np.float32(0.1), "0.1"),
        (Decimal("4.10"), "4.1"),
        (2**53 + 1, "9007199254740993"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
        (float(2**62), "4611686018427387904"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        ("5.0", "5.0"),
        (" x", " x"),
        ("", ""),
        (float("nan"), None),
        (None, None),
        (pd.NA, None),
        (pd.NaT, None),
    ],
)
def test_canonical_text(value: Any, expected: str | None) -> None:
    assert texts([value]) == [expected]
    assert texts(["other", value]) == ["other", expected]
    assert texts([value, 7, "other", None]) == [expected, "7", "other", None]


def test_dates_of_both_widths_are_one_value() -> None:
    days = [datetime.date(2024, 2, 29), None]
    for kind in (pa.date32(), pa.date64()):
        assert texts(pa.array(days, kind)) == ["2024-02-29", None]


def test_decimal_of_negative_scale_is_written_out() -> None:
    assert texts(pa.array([Decimal(1200)], pa.decimal128(10, -2))) == ["1200"]


@given(st.lists(SCALAR, max_size=12))
def test_no_value_changes_the_text_of_another(values: list[Any]) -> None:
    assert texts(values) == [texts([value])[0] for value in values]


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53)), min_size=1))
def test_integers_read_the_same_from_every_type(values: list[int | None]) -> None:
    expected = [None if value is None else str(value) for value in values]
    assert texts(values) == expected
    assert texts(expected) == expected
    assert texts(pd.Series(values, dtype="Int64")) == expected
    assert texts(pd.Series(values, dtype=object)) == expected
    assert texts(np.array([np.nan if value is None else value for value in values])) == expected
    for array in (pa.array(values, pa.int64()), pa.array(values, pa.float64()), pa.array(expected, pa.string())):
        assert texts(array.dictionary_encode()) == expected


@given(st.lists(st.one_of(st.none(), TEXT)), st.integers(0, 5))
def test_slices_and_dictionaries_read_as_plain_strings(values: list[str | None], start: int) -> None:
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert texts(pa.array(values, kind).slice(start)) == values[start:]
    words = pa.array([*values, None, "spare"], pa.string())  # null and repeated entries in the dictionary itself
    codes = pa.array(range(len(values)), pa.int32())
    assert texts(pa.DictionaryArray.from_arrays(codes, words).slice(start)) == values[start:]


def test_chunks_with_dictionaries_of_their_own() -> None:
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["b", None, "c"]).dictionary_encode()]
    assert texts(pa.chunked_array(chunks)) == ["a", "b", "b", None, "c"]
    assert text("c", column(pa.table({"c": pa.chunked_array(chunks)}), "c")).to_pylist() == ["a", "b", "b", None, "c"]


@pytest.mark.parametrize(
    "values",
    [
        [[1]],
        [{"a": 1}],
        [b"a"],
        np.array([b"a"]),
        [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)],
        np.array(["2024-01-01"], "datetime64[s]"),
        [datetime.timedelta(1)],
        [None, object()],
        [object(), "a"],
        ["a", {"b": 1}],
        ["a", b"b"],
        np.array([1 + 2j]),
        [datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 5, tzinfo=datetime.UTC)],
        [2**64],
        [-(2**63) - 1, "a"],
        ["a", "\ud800"],
    ],
)
def test_what_has_no_one_text_is_refused(values: Any) -> None:
    with pytest.raises(DataError, match=r"column 'c' must hold .*got .*convert it"):
        texts(values)


@pytest.mark.parametrize("values", [[float("inf")], np.array([1, -np.inf]), ["a", float("inf")]])
def test_infinity_is_no_category(values: Any) -> None:
    with pytest.raises(DataError, match="column 'c' must hold finite numbers, got inf; use null"):
        texts(values)


def test_message_names_the_value() -> None:
    with pytest.raises(DataError, match=r"got '\\ud800' \(str\)"):
        texts(["fine", "\ud800"])
    with pytest.raises(DataError, match=r"got b'x' in row 1 \(binary\)"):
        texts([None, b"x"])


# ------------------------------------------------------------------------------------------------------- numbers


def floats(values: Any) -> list[float | None]:
    found = numbers("c", column({"c": values}, "c", numeric=True))
    assert found.dtype == np.float64
    return [None if np.isnan(value) else float(value) for value in found]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 2.5], [1, None, 2.5]),
        ([True, False, None], [1, 0, None]),
        ([True, 3], [1, 3]),
        ([Decimal("1.25"), None, 2.5], [1.25, None, 2.5]),
        ([2**60 + 1, 0.5, pd.NA], [float(2**60), 0.5, None]),
        ([2**70], [float(2**70)]),
        ([float("nan"), np.int8(3), np.float32(0.5)], [None, 3, 0.5]),
        ([None, None], [None, None]),
        ([], []),
        (np.array([1, 2], np.uint16), [1, 2]),
        (np.array([0.5], np.float16), [0.5]),
        (np.array([True]), [1]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series([0.5, None], dtype="Float64"), [0.5, None]),
        (pd.Series([True, None], dtype="boolean"), [1, None]),
        (pa.array([1, None, 3]).slice(1), [None, 3]),
        (pa.array([1.5, None, 1.5]).dictionary_encode(), [1.5, None, 1.5]),
        (pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)), [1.5, None]),
        (pa.array([0.5, None], pa.float16()), [0.5, None]),
        (pa.chunked_array([[1], [None, 2]]), [1, None, 2]),
    ],
)
def test_numbers_read_the_same_from_every_type(values: Any, expected: list[float | None]) -> None:
    assert floats(values) == expected


@given(st.lists(st.one_of(st.none(), st.floats(width=32, allow_infinity=False), INT64, st.booleans()), min_size=1))
def test_no_value_changes_the_number_of_another(values: list[float | None]) -> None:
    assert floats(values) == [floats([value])[0] for value in values]


@pytest.mark.parametrize(
    ("values", "got"),
    [
        (["12", "abc"], r"'abc' in row 1 \(string\)"),
        ([1, "abc", 2], r"'abc' in row 1 \(string\)"),
        (["12"], "values of type string"),
        ([[1.0]], r"\[1.0\] in row 0 \(list<item: double>\)"),
        ([datetime.date(2024, 1, 1)], "datetime.date"),
        (pa.array(["a"]).dictionary_encode(), r"'a' in row 0 \(string\)"),
    ],
)
def test_what_is_no_number_is_refused_by_name(values: Any, got: str) -> None:
    with pytest.raises(
        DataError, match=rf"column 'c' must hold numbers, got {got}.*convert it, or declare it as kind: cat"
    ):
        floats(values)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e39, -1e300, 10**400])
def test_numbers_beyond_single_precision_are_refused_with_their_row(value: float) -> None:
    with pytest.raises(
        DataError, match=r"column 'c' must hold finite numbers up to 3.4e\+38, got .* in row 2; use null"
    ):
        floats([0.5, None, value])


# --------------------------------------------------------------------------------------------------------- lists

ROWS: list[list[int] | None] = [[9, 9], None, [1, 2, 3], [], [4], None, [5, 6, 7, 8]]


def unpack(array: pa.Array, max_length: int = 50) -> list[list[Any] | None]:
    """The rows again, from values, lengths and missing."""
    values, lengths, missing = lists("c", array, max_length)
    assert len(values) == lengths.sum()
    ends = np.cumsum(lengths)
    return [
        None if gone else values[int(end - length) : int(end)].to_pylist()
        for end, length, gone in zip(ends, lengths, missing, strict=True)
    ]


def list_arrays() -> list[pa.Array]:
    kinds = (pa.list_(pa.int32()), pa.large_list(pa.int64()), pa.list_view(pa.int8()), pa.large_list_view(pa.int16()))
    # Under each null of the last array lie values which must not come to light
    offsets = pa.array([0, 2, 3, 6, 6, 7, 9, 13], pa.int32())
    missing = pa.array([row is None for row in ROWS])
    hidden = pa.ListArray.from_arrays(offsets, pa.array([9, 9, 0, 1, 2, 3, 4, 0, 0, 5, 6, 7, 8]), mask=missing)
    return [*(pa.array(ROWS, kind) for kind in kinds), hidden]


@pytest.mark.parametrize("array", list_arrays(), ids=lambda array: str(array.type))
@pytest.mark.parametrize("start", range(len(ROWS) + 1))
def test_lists_of_every_type_and_slice(array: pa.Array, start: int) -> None:
    assert unpack(array.slice(start)) == ROWS[start:]
    assert unpack(array.slice(start), max_length=2) == [row and row[-2:] for row in ROWS[start:]]
    assert unpack(array.slice(start, 2)) == ROWS[start : start + 2]


def test_list_view_out_of_order() -> None:
    kind = pa.ListViewArray.from_arrays(
        pa.array([2, 0, 1], pa.int32()), pa.array([2, 1, 3], pa.int32()), pa.array([7, 8, 9, 6])
    )
    assert unpack(kind) == [[9, 6], [7], [8, 9, 6]]


def test_fixed_size_lists() -> None:
    array = pa.array([[1, 2, 3], None, [4, 5, 6]], pa.list_(pa.int64(), 3))
    assert unpack(array) == [[1, 2, 3], None, [4, 5, 6]]
    assert unpack(array.slice(1), max_length=2) == [None, [5, 6]]


@pytest.mark.parametrize(
    "values",
    [
        [[1, "a"], None, ["b"], []],
        [(1, "a"), None, ["b"], ()],
        pd.Series([[1, "a"], None, ["b"], []]),
        [np.array([1, "a"], object), None, ["b"], np.array([])],
    ],
)
def test_lists_of_several_types(values: Any) -> None:
    found = unpack(column({"c": values}, "c"))
    assert [row and text("c", pa.array(map(str, row))).to_pylist() for row in found] == [["1", "a"], None, ["b"], []]


def test_matrix_is_a_list_column() -> None:
    assert unpack(column({"c": np.arange(6).reshape(3, 2)}, "c")) == [[0, 1], [2, 3], [4, 5]]


def test_null_column_is_missing_lists() -> None:
    assert unpack(pa.nulls(3)) == [None, None, None]


@given(st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text("ab", max_size=2))))), st.integers(1, 4))
def test_truncation_keeps_the_last_values(rows: list[list[str | None] | None], max_length: int) -> None:
    assert unpack(pa.array(rows, pa.list_(pa.string())), max_length) == [row and row[-max_length:] for row in rows]


@pytest.mark.parametrize("values", [["a"], [1, 2], [{"a": 1}]])
def test_single_values_are_no_lists(values: Any) -> None:
    with pytest.raises(
        DataError, match=r"column 'c' must hold lists, got .*declare single values as kind: categorical"
    ):
        lists("c", column({"c": values}, "c"), 3)


def test_single_value_among_lists_is_named() -> None:
    with pytest.raises(DataError, match="column 'c' must hold lists in every row, got 'a' in row 1; put it in a list"):
        column({"c": [["b"], "a"]}, "c")


# ------------------------------------------------------------------------------------------------------- columns


@pytest.mark.parametrize(
    "data",
    [
        {"b": [1], "a": [2]},
        pd.DataFrame({"b": [1], "a": [2]}),
        pa.table({"b": [1], "a": [2]}),
        pa.record_batch({"b": [1], "a": [2]}),
    ],
)
def test_missing_column_lists_those_there(data: Columns) -> None:
    with pytest.raises(
        DataError, match=r"column 'c' is missing; there are \['a', 'b'\]; add it, or correct the schema"
    ):
        column(data, "c")
    assert column(data, "a").to_pylist() == [2]
    assert num_rows(data) == 1


@pytest.mark.parametrize(
    "data",
    [pa.table([[1], [2]], names=["c", "c"]), pd.DataFrame([[1, 2]], columns=["c", "c"])],
)
def test_repeated_column_is_refused(data: Columns) -> None:
    with pytest.raises(DataError, match="column 'c' is there 2 times; keep one of them"):
        column(data, "c")


@pytest.mark.parametrize("values", ["abc", b"abc", 5, None, {"x": 1}, iter([1])])
def test_column_that_is_no_sequence_is_refused(values: Any) -> None:
    with pytest.raises(
        DataError, match=r"column 'c' must be a sequence with one value per row, got .*; put it in a list"
    ):
        column({"c": values}, "c")


def test_rows_of_nothing() -> None:
    assert num_rows({}) == 0
    assert num_rows(pa.table({"c": pa.array([], pa.int8())})) == 0
    assert column(pa.table({"c": pa.chunked_array([], pa.int8())}), "c").to_pylist() == []
