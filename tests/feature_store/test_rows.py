"""Packed rows: what goes in comes out, and what does not fit is named."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from feature_store import Column, FeatureRow, InvalidRow, SchemaMismatch, ViewSchema
from feature_store.decoder import RowDecoder
from feature_store.encoder import RowEncoder
from feature_store.rows import HEADER, read_header
from feature_store.view import ColumnType

INTEGERS = st.integers(-(2**63), 2**64 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text()  # never draws surrogates
VALUES: dict[ColumnType, st.SearchStrategy[Any]] = {
    "int": INTEGERS,
    "float": FLOATS,
    "bool": st.booleans(),
    "string": TEXT,
    "int_list": st.lists(INTEGERS | st.none(), max_size=5),
    "float_list": st.lists(FLOATS | st.none(), max_size=5),
    "string_list": st.lists(TEXT | st.none(), max_size=5),
}


@st.composite
def schema_and_values(draw: st.DrawFn) -> tuple[ViewSchema, dict[str, Any]]:
    names = draw(st.lists(st.text(min_size=1), min_size=1, max_size=6, unique=True))
    columns = tuple(Column(name, draw(st.sampled_from(sorted(VALUES)))) for name in names)
    return ViewSchema("v", columns), {column.name: draw(VALUES[column.type] | st.none()) for column in columns}


def round_trip(schema: ViewSchema, values: dict[str, Any], event_time: float | None = None) -> FeatureRow:
    raw = RowEncoder(schema).encode("e", values, event_time)
    (row,) = RowDecoder("v", [schema]).decode_many(["e"], [raw], now=0.0)
    assert row is not None
    return row


@given(schema_and_values(), st.floats(-1e18, 1e18) | st.none())
def test_round_trip(drawn: tuple[ViewSchema, dict[str, Any]], event_time: float | None) -> None:
    schema, values = drawn
    row = round_trip(schema, values, event_time)
    assert row == FeatureRow(values, event_time)
    assert [type(row.values[name]) for name in schema.names] == [type(values[name]) for name in schema.names]


@given(schema_and_values(), st.data())
def test_columns_left_out_are_null(drawn: tuple[ViewSchema, dict[str, Any]], data: st.DataObject) -> None:
    schema, values = drawn
    given_names = data.draw(st.sets(st.sampled_from(schema.names)))
    kept = {name: values[name] for name in given_names}
    assert round_trip(schema, kept).values == {name: kept.get(name) for name in schema.names}


@given(st.binary(max_size=60))
def test_bytes_that_are_no_row_never_pass_for_one(raw: bytes) -> None:
    schema = ViewSchema("v", (Column("a", "int"), Column("b", "string")))
    header = RowEncoder(schema).encode("e", {}, None)[: HEADER.size]
    decoder = RowDecoder("v", [schema])
    with pytest.raises(SchemaMismatch):
        decoder.decode_many(["e"], [raw[: HEADER.size]], now=0.0)
    try:
        (row,) = decoder.decode_many(["e"], [header + raw], now=0.0)
    except SchemaMismatch:
        return
    assert row is not None
    assert set(row.values) == {"a", "b"}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int", "5"),
        ("int", 5.0),
        ("int", True),
        ("int", 2**64),
        ("int", -(2**63) - 1),
        ("int", np.int64(5)),
        ("float", "9.5"),
        ("float", True),
        ("float", math.inf),
        ("float", -math.inf),
        ("float", 10**400),
        ("float", [1.0]),
        ("bool", 1),
        ("bool", "true"),
        ("string", 5),
        ("string", b"bytes"),
        ("string", "\ud800"),
        ("int_list", [1, 2.5]),
        ("int_list", 1),
        ("int_list", [2**64]),
        ("float_list", [1.0, math.inf]),
        ("float_list", [1.0, "x"]),
        ("string_list", "abc"),
        ("string_list", ["a", 1]),
        ("string_list", ["\ud800"]),
        ("string_list", {"a": 1}),
    ],
)
def test_a_value_of_the_wrong_type_is_named(kind: ColumnType, value: object) -> None:
    schema = ViewSchema("item", (Column("first", "int"), Column("bad", kind), Column("last", "string")))
    with pytest.raises(InvalidRow) as caught:
        RowEncoder(schema).encode("i9", {"first": 1, "bad": value, "last": "x"}, None)
    message = str(caught.value)
    assert message.startswith(f"view 'item', entity 'i9': column 'bad' must be {kind.replace('_', ' ')} or null, got ")
    assert repr(value)[:20] in message
    assert "convert it, or use null" in message


def test_integers_are_fine_as_floats_and_nan_is_null() -> None:
    schema = ViewSchema("v", (Column("a", "float"), Column("b", "float_list"), Column("c", "float")))
    row = round_trip(schema, {"a": 3, "b": [1, math.nan, None, 2.5], "c": math.nan})
    assert row.values == {"a": 3.0, "b": [1.0, None, None, 2.5], "c": None}
    assert isinstance(row.values["a"], float)


@pytest.mark.parametrize("event_time", [math.nan, math.inf, "2024-01-01", True, Decimal(5), 10**400])
def test_an_event_time_must_be_a_finite_number(event_time: Any) -> None:
    schema = ViewSchema("v", (Column("a", "int"),))
    with pytest.raises(InvalidRow, match="entity 'e': event time must be finite unix seconds"):
        RowEncoder(schema).encode("e", {}, event_time)


def test_the_layout_is_what_its_documentation_says() -> None:
    schema = ViewSchema("v", (Column("a", "int"), Column("b", "bool")))
    raw = RowEncoder(schema).encode("e", {"a": 7, "b": None}, 1.5, expires_at=2.0)
    assert raw == b"\x01" + schema.digest + bytes.fromhex("000000000000f83f0000000000000040") + b"\x92\x07\xc0"
    assert read_header(raw[: HEADER.size]) == (1, schema.digest, 1.5, 2.0)
