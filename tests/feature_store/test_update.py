"""Partial updates: the columns named change, the others stay, whoever else writes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import feature_store
from feature_store import (
    Column,
    FeatureRow,
    FeatureStore,
    InvalidRow,
    Row,
    SchemaMismatch,
    UnknownView,
    ViewSchema,
    parse_store,
)

PRICE = Column("price", "float")
ITEM = ViewSchema("item", (PRICE, Column("clicks", "int"), Column("tags", "string_list")))
FULL: dict[str, Any] = {"price": 9.5, "clicks": 3, "tags": ["new", "red"]}
ROOT = Path(feature_store.__file__).parents[1]


async def one(store: FeatureStore, entity: str = "a") -> FeatureRow | None:
    return (await store.get_many("item", [entity]))[0]


async def test_other_columns_stay(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", FULL, 12.0), ("b", FULL, 12.0)])
    assert await store.update_many("item", [("a", {"clicks": 4}, None), ("b", {"price": None}, 13.0)]) == 2
    assert await one(store) == FeatureRow({**FULL, "clicks": 4}, 12.0)
    assert await one(store, "b") == FeatureRow({**FULL, "price": None}, 13.0)


async def test_a_row_that_is_not_there_is_made(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("gone", FULL, 5.0)], ttl_seconds=0.001)
    await asyncio.sleep(0.01)
    ids = ["new", "gone", "é" * 600, "\0"]
    assert await store.update_many("item", [(entity, {"clicks": 1}, None) for entity in ids]) == 4
    expected = FeatureRow({"price": None, "clicks": 1, "tags": None}, None)
    assert await store.get_many("item", ids) == [expected] * 4


async def test_updates_of_one_call_add_up(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", FULL, 1.0)])
    updates: list[Row] = [("a", {"clicks": 4}, 2.0), ("a", {"price": 1.0}, None), ("a", {"clicks": 5}, None)]
    await store.update_many("item", updates)
    assert await one(store) == FeatureRow({**FULL, "clicks": 5, "price": 1.0}, 2.0)
    assert await store.update_many("item", []) == 0


async def test_the_time_to_live_stays_unless_it_is_given(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("short", FULL, None)], ttl_seconds=3_600)
    await store.put_many("item", [("long", FULL, None)])
    before = [await one(store, entity) for entity in ("short", "long")]
    await store.update_many("item", [("short", {"clicks": 7}, None), ("long", {"clicks": 7}, None)])
    after = [await one(store, entity) for entity in ("short", "long")]
    assert [row and row.expires_at for row in after] == [row and row.expires_at for row in before]
    await store.update_many("item", [("long", {"clicks": 8}, None)], ttl_seconds=60)
    row = await one(store, "long")
    assert row is not None
    assert row.expires_at == pytest.approx(time.time() + 60, abs=50)


async def test_a_row_of_an_earlier_schema_moves_to_the_current_one(store: FeatureStore, store_text: str) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", FULL, 1.0)])
    async with parse_store(store_text).build() as other:
        await other.create_view(ViewSchema("item", (PRICE, Column("brand", "string"))), replace=True)
    await store.update_many("item", [("a", {"brand": "b"}, None)])
    assert await one(store) == FeatureRow({"price": 9.5, "brand": "b"}, 1.0)
    assert (await store.stats("item")).num_rows_of_older_schema == 0


async def test_what_does_not_fit_is_named_and_changes_nothing(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", FULL, 1.0)])
    good = ("a", {"clicks": 9}, None)
    with pytest.raises(InvalidRow, match="entity 'b': column 'price' must be float or null, got 'cheap'"):
        await store.update_many("item", [good, ("b", {"price": "cheap"}, None)])
    with pytest.raises(InvalidRow, match=r"column 'colour' .* must be one of"):
        await store.update_many("item", [good, ("a", {"colour": "red"}, None)])
    with pytest.raises(InvalidRow, match="must not be empty"):
        await store.update_many("item", [good, ("", {}, None)])
    with pytest.raises(ValueError, match="`ttl_seconds` must be greater than 0"):
        await store.update_many("item", [good], ttl_seconds=0)
    with pytest.raises(UnknownView):
        await store.update_many("itme", [good])
    await store._write("item", [(b"broken", b"no row")], None)
    with pytest.raises(SchemaMismatch, match="entity 'broken'"):
        await store.update_many("item", [good, ("broken", {"clicks": 1}, None)])
    assert await one(store) == FeatureRow(FULL, 1.0)


WRITER = """
import asyncio, sys
from feature_store import parse_store

async def main():
    column = sys.argv[2]
    async with parse_store(sys.argv[1]).build() as store:
        for value in range(1, 41):
            await store.update_many("item", [(n, {column: value}, None) for n in range(5)])

asyncio.run(main())
"""


async def test_two_processes_update_different_columns_of_the_same_rows(store: FeatureStore, store_text: str) -> None:
    await store.create_view(ViewSchema("item", (Column("left", "int"), Column("right", "int"))))
    _, cursor = await store.changes("item", None)
    commands = [(sys.executable, "-c", WRITER, store_text, column) for column in ("left", "right")]
    writers = [await asyncio.create_subprocess_exec(*it, cwd=ROOT, stderr=subprocess.PIPE) for it in commands]
    errors = [(await writer.communicate())[1].decode() for writer in writers]
    assert errors == ["", ""]
    rows = await store.get_many("item", range(5))
    assert [row and row.values for row in rows] == [{"left": 40, "right": 40}] * 5
    assert set((await store.changes("item", cursor))[0]) == set("01234")
