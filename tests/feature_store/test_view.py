"""Views: their rules, their hash, and how they follow from Arrow schemas."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa
import pytest

from feature_store import Column, InvalidInput, ViewSchema

A, B = Column("a", "int"), Column("b", "string")


def test_the_hash_changes_with_name_type_and_order_and_with_nothing_else() -> None:
    variants = [(A, B), (B, A), (A,), (A, Column("c", "string")), (A, Column("b", "float"))]
    assert len({ViewSchema("v", columns).hash for columns in variants}) == len(variants)
    assert ViewSchema("v", (A, B)).hash == ViewSchema("w", (A, B)).hash


def test_the_hash_stays_the_same_between_versions_of_this_code() -> None:
    assert ViewSchema("v", (A, B)).hash == "7131849ad8fb8517"  # stored rows carry it


def test_json_round_trip() -> None:
    schema = ViewSchema("item-2", (A, B, Column("日本 'x'", "float_list")))
    assert msgspec.json.decode(msgspec.json.encode(schema), type=ViewSchema) == schema


@pytest.mark.parametrize("view", ["", "9a", "a b", "a/b", "a:b", "a\0", "é", "x" * 65, "a\n"])
def test_a_view_name_is_plain(view: str) -> None:
    with pytest.raises(ValueError, match="`view` must be letters"):
        ViewSchema(view, (A,))


@pytest.mark.parametrize(
    ("columns", "message"),
    [((), "at least one column"), ((A, B, Column("a", "float")), r"must be unique, got \['a'\]")],
)
def test_columns_are_some_and_unique(columns: tuple[Column, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ViewSchema("v", columns)


def test_a_column_has_a_name_and_a_known_type() -> None:
    unknown: Any = "date"
    with pytest.raises(ValueError, match="must not be empty"):
        Column("", "int")
    with pytest.raises(ValueError, match="`type` of column 'a' must be one of"):
        Column("a", unknown)


def test_a_difference_in_order_alone_is_told() -> None:
    assert ViewSchema("v", (A, B)).difference(ViewSchema("v", (B, A))) == "columns in the order ['b', 'a']"
    assert ViewSchema("v", (A, B)).difference(ViewSchema("v", (A, B))) == ""


def test_from_arrow() -> None:
    table = pa.schema([("b", pa.string()), ("id", pa.int64()), ("a", pa.uint8())])
    assert ViewSchema.from_arrow("v", table, "id") == ViewSchema("v", (B, A))
    assert ViewSchema.from_arrow("v", table, "id", ["a"]) == ViewSchema("v", (A,))


@pytest.mark.parametrize(
    ("key", "columns", "message"),
    [
        ("idd", None, r"column 'idd' is missing; there are \['a', 'c', 'c', 'id'\]; correct the name"),
        ("id", ["a", "x"], "column 'x' is missing"),
        ("id", ["id", "a"], "key column 'id' cannot also be a feature column"),
        ("id", [], "at least one column besides the key"),
        ("id", ["a", "a"], "must be unique"),
        ("id", None, "column 'c' is there more than once"),
    ],
)
def test_from_arrow_names_what_is_wrong(key: str, columns: list[str] | None, message: str) -> None:
    table = pa.schema([("id", pa.int64()), ("a", pa.int8()), ("c", pa.int8()), ("c", pa.int8())])
    with pytest.raises(InvalidInput, match=message):
        ViewSchema.from_arrow("v", table, key, columns)
