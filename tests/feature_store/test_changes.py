"""What keeps a copy of a view up to date: every row once, then what changed since, and never a silent gap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from feature_store import Column, CursorExpired, FeatureRow, FeatureStore, UnknownView, ViewSchema, parse_store

ITEM = ViewSchema("item", (Column("price", "float"), Column("tags", "string_list")))
WIDER = ViewSchema("item", (*ITEM.columns, Column("brand", "string")))


async def everything(store: FeatureStore, chunk_rows: int = 13) -> dict[str, FeatureRow]:
    return {entity: row async for chunk in store.scan_rows("item", chunk_rows=chunk_rows) for entity, row in chunk}


async def news(store: FeatureStore, cursor: str | None) -> tuple[set[str], str]:
    """All that changed since a cursor, as a reader asks for it."""
    found: set[str] = set()
    while True:
        ids, cursor = await store.changes("item", cursor)
        if not ids:
            return found, cursor
        found |= set(ids)


async def test_a_scan_gives_every_row_with_its_id(store: FeatureStore) -> None:
    ids = ["a", "\0", "\0\0", "{a}:b", "}:", "é" * 600, "\ud800", "x" * 505, "x" * 506, "item:a", *map(str, range(70))]
    await store.create_view(ITEM)
    await store.create_view(ViewSchema("item2", ITEM.columns))
    await store.put_many("item2", [("other", {}, None)])
    await store.put_many("item", [(entity, {"price": float(n)}, n / 2) for n, entity in enumerate(ids)])
    expected = {entity: FeatureRow({"price": float(n), "tags": None}, n / 2) for n, entity in enumerate(ids)}
    assert await everything(store) == expected
    assert await everything(store, chunk_rows=5_000) == expected


async def test_a_scan_leaves_out_what_expired_and_tells_when_the_rest_will(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("gone", {}, None)], ttl_seconds=0.001)
    await store.put_many("item", [("short", {}, None)], ttl_seconds=3_600)
    await store.put_many("item", [("long", {}, None)])
    await asyncio.sleep(0.01)
    rows = await everything(store)
    assert sorted(rows) == ["long", "short"]
    assert rows["long"].expires_at is None
    assert rows["short"].expires_at is not None
    assert [rows["short"]] == await store.get_many("item", ["short"])


async def test_a_scan_knows_schemas_that_came_later(store: FeatureStore, store_text: str) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [(n, {}, None) for n in range(20)])
    found: dict[str, FeatureRow] = {}
    async with parse_store(store_text).build() as writer:
        async for chunk in store.scan_rows("item", chunk_rows=3):
            if not found:
                await writer.create_view(WIDER, replace=True)
                await writer.put_many("item", [(n, {"brand": "b"}, None) for n in range(20)])
            found.update(chunk)
    assert sorted(map(int, found)) == list(range(20))
    assert any("brand" in row.values for row in found.values())


async def test_changes_tell_what_was_written_and_deleted(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    assert (await news(store, None))[0] == set()
    _, start = await store.changes("item", None)  # nothing was ever written
    await store.put_many("item", [("a", {}, None), ("é" * 600, {}, None), (7, {}, None)])
    found, middle = await news(store, start)
    assert found == {"a", "é" * 600, "7"}
    assert await news(store, middle) == (set(), middle)
    await store.delete_many("item", ["a", "nobody"])
    await store.put_many("item", [("b", {}, None)], ttl_seconds=60)
    await store.create_view(ViewSchema("user", ITEM.columns))
    await store.put_many("user", [("u", {}, None)])
    found, end = await news(store, middle)
    assert found - {"nobody"} == {"a", "b"}
    assert (await news(store, start))[0] - {"nobody"} == {"a", "é" * 600, "7", "b"}  # a cursor can be used again
    assert (await store.changes("item", None))[1] == end
    with pytest.raises(UnknownView):
        await store.changes("itme", None)


async def test_a_large_write_is_told_in_parts(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    _, cursor = await store.changes("item", None)
    await store.put_many("item", [(n, {}, None) for n in range(50_000)])
    ids, _ = await store.changes("item", cursor)
    assert 0 < len(ids) < 50_000
    assert (await news(store, cursor))[0] == set(map(str, range(50_000)))


async def test_a_reader_that_fell_behind_is_told(store: FeatureStore, few_changes: Callable[[], None]) -> None:
    await store.create_view(ITEM)
    _, start = await store.changes("item", None)
    await store.put_many("item", [("a", {}, None)])
    _, first = await news(store, start)
    few_changes()
    for n in range(40):
        await store.put_many("item", [(n * 150 + k, {}, None) for k in range(150)])
    for cursor in (start, first):
        with pytest.raises(CursorExpired, match=r"view 'item': .* take a new cursor"):
            await news(store, cursor)
    _, cursor = await store.changes("item", None)
    await store.put_many("item", [("z", {}, None)])
    assert (await news(store, cursor))[0] == {"z"}


@pytest.mark.parametrize("cursor", ["", "x", "5-abc", "12-0", "-1", "0-0,0-0", "9" * 50 + "-1"])
async def test_a_cursor_of_another_store_has_expired(store: FeatureStore, cursor: str) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", {}, None)])
    with pytest.raises(CursorExpired):
        await store.changes("item", cursor)


@pytest.fixture
def few_changes(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes logs keep only a few changes from then on."""

    def limit() -> None:
        monkeypatch.setattr("feature_store.embedded.change_log.MAX_IDS", 500)
        monkeypatch.setattr("feature_store.redis.change_log._ENTRIES", 64)

    return limit


async def test_a_copy_stays_equal_to_the_view(store: FeatureStore, store_text: str) -> None:
    """The whole use of it: a cursor, a scan, then changes, while another store writes all the time."""
    await store.create_view(ITEM)
    await store.put_many("item", [(n, {"price": 0.0}, None) for n in range(300)])
    copy: dict[str, Any] = {}
    writing = asyncio.create_task(write_at_random(store_text))
    _, cursor = await store.changes("item", None)
    async for chunk in store.scan_rows("item", chunk_rows=37):
        copy.update({entity: row.values["price"] for entity, row in chunk})
    done = False
    while not done:
        done = writing.done()
        ids, cursor = await store.changes("item", cursor)
        rows = await store.get_many("item", ids)
        copy.update({entity: row and row.values["price"] for entity, row in zip(ids, rows, strict=True)})
        done = done and not ids
        await asyncio.sleep(0)
    await writing
    assert {entity: price for entity, price in copy.items() if price is not None} == {
        entity: row.values["price"] for entity, row in (await everything(store)).items()
    }


async def write_at_random(store_text: str) -> None:
    choose = random.Random(0)
    async with parse_store(store_text).build() as writer:
        for step in range(1, 60):
            chosen = choose.sample(range(400), 17)
            if step % 5:
                await writer.put_many("item", [(n, {"price": float(step)}, None) for n in chosen])
            else:
                await writer.delete_many("item", chosen)
