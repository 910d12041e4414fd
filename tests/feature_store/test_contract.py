"""What every store promises, held against LMDB and a real Redis server."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import feature_store
from feature_store import (
    Column,
    FeatureRow,
    FeatureStore,
    InvalidRow,
    SchemaMismatch,
    UnknownView,
    ViewSchema,
    parse_store,
)

PRICE = Column("price", "float")
ITEM = ViewSchema("item", (PRICE, Column("clicks", "int"), Column("tags", "string_list")))
WIDER = ViewSchema("item", (*ITEM.columns, Column("brand", "string")))

FULL: dict[str, Any] = {"price": 9.5, "clicks": 3, "tags": ["new", "red"]}
EMPTY: dict[str, Any] = {"price": None, "clicks": None, "tags": None}


def values(rows: Sequence[FeatureRow | None]) -> list[dict[str, Any] | None]:
    return [None if row is None else row.values for row in rows]


async def prices(store: FeatureStore, ids: Sequence[str | int]) -> list[float | None]:
    return [None if row is None else row.values["price"] for row in await store.get_many("item", ids)]


async def raws_of(store: FeatureStore, *keys: bytes) -> list[bytes | None]:
    return (await store._read({"item": keys}))["item"]


async def test_rows_come_in_the_order_of_the_ids_with_missing_ones_between(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    written = await store.put_many("item", [(f"i{n}", {"price": float(n)}, None) for n in range(7)])
    assert written == 7
    assert await prices(store, ["i5", "nobody", "i0", "i6", "", "i3"]) == [5.0, None, 0.0, 6.0, None, 3.0]


async def test_an_id_asked_twice_is_answered_twice(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", {"price": 1.0}, None), ("b", {"price": 2.0}, None)])
    assert await prices(store, ["a", "b", "a", "x", "x"]) == [1.0, 2.0, 1.0, None, None]


async def test_no_ids_give_no_rows(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    assert await store.get_many("item", []) == []
    assert await store.put_many("item", []) == 0
    assert await store.delete_many("item", []) == 0


async def test_null_is_not_missing(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("null", {}, None), ("full", FULL, 12.5), ("lists", {"tags": []}, None)])
    rows = await store.get_many("item", ["null", "missing", "full", "lists"])
    assert values(rows) == [EMPTY, None, FULL, {**EMPTY, "tags": []}]
    assert [row and row.event_time for row in rows] == [None, None, 12.5, None]


async def test_a_write_replaces_the_whole_row_and_the_last_one_wins(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", FULL, 1.0)])
    await store.put_many("item", [("a", {"clicks": 1}, 2.0), ("a", {"clicks": 2}, None)])
    (row,) = await store.get_many("item", ["a"])
    assert row == FeatureRow({**EMPTY, "clicks": 2}, None)


async def test_integers_and_their_text_are_one_entity(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many(
        "item", [(5, {"price": 5.0}, None), ("-6", {"price": 6.0}, None), (2**70, {"price": 7.0}, None)]
    )
    assert await prices(store, ["5", 5, -6, str(2**70), "05"]) == [5.0, 5.0, 6.0, 7.0, None]


@pytest.mark.parametrize("bad", [5.0, True, None, b"5", ("a",)])
async def test_ids_of_other_types_are_refused(store: FeatureStore, bad: Any) -> None:
    await store.create_view(ITEM)
    with pytest.raises(InvalidRow, match="must be a string or an integer"):
        await store.get_many("item", [bad])
    with pytest.raises(InvalidRow, match="must be a string or an integer"):
        await store.put_many("item", [(bad, FULL, None)])


async def test_odd_ids_stay_apart(store: FeatureStore) -> None:
    ids = ["\0", "\0\0", "a:b", "a", ":", "*", "i?[x]", "é", "e\u0301", "日本", "\ud800", " a", "a ", "A", "item"]
    ids += ["x" * 500, "x" * 600, "x" * 601, "é" * 5_000, "item:a", "\n", "None"]
    await store.create_view(ITEM)
    await store.put_many("item", [(entity, {"clicks": n}, None) for n, entity in enumerate(ids)])
    rows = await store.get_many("item", ids)
    assert [row and row.values["clicks"] for row in rows] == list(range(len(ids)))
    assert await store.delete_many("item", ids) == len(ids)
    assert await store.get_many("item", ids) == [None] * len(ids)


async def test_an_empty_id_cannot_be_written(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    with pytest.raises(InvalidRow, match="must not be empty"):
        await store.put_many("item", [("a", FULL, None), ("", FULL, None)])
    assert await store.get_many("item", ["", "a"]) == [None, None]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False)), asked=st.data())
def test_it_is_a_dictionary(store_text: str, written: dict[str, float], asked: st.DataObject) -> None:
    ids = asked.draw(st.lists(st.sampled_from([*written, "absent"])))

    async def use() -> list[float | None]:
        async with parse_store(store_text).build() as store:
            await store.create_view(ITEM)
            await store.delete_many("item", ids)  # what earlier examples left
            await store.put_many("item", [(entity, {"price": price}, None) for entity, price in written.items()])
            return await prices(store, ids)

    assert asyncio.run(use()) == [written.get(entity) for entity in ids]


async def test_large_values(store: FeatureStore) -> None:
    schema = ViewSchema("doc", (Column("text", "string"), Column("vector", "float_list"), Column("ids", "int_list")))
    row = {"text": "ß" * 300_000, "vector": [n / 7 for n in range(5_000)], "ids": [2**63, -(2**63), None, 2**64 - 1]}
    await store.create_view(schema)
    await store.put_many("doc", [("big", row, None)])
    assert values(await store.get_many("doc", ["big"])) == [row]


async def test_many_rows_go_in_chunks(store: FeatureStore) -> None:
    num_rows = store.chunk_size.num_rows * 2 + 17
    await store.create_view(ITEM)
    assert await store.put_many("item", ((n, {"clicks": n}, None) for n in range(num_rows))) == num_rows
    ids = [0, store.chunk_size.num_rows - 1, store.chunk_size.num_rows, num_rows - 1, num_rows]
    rows = await store.get_many("item", ids)
    assert [row and row.values["clicks"] for row in rows] == [*ids[:-1], None]
    assert (await store.stats("item")).num_rows == num_rows
    assert await store.delete_many("item", range(num_rows + 5)) == num_rows


async def test_rows_expire(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("short", FULL, None), ("renewed", FULL, None)], ttl_seconds=3_600)
    await store.put_many("item", [("renewed", FULL, None), ("forever", FULL, None)])
    assert None not in await store.get_many("item", ["short", "renewed", "forever"])
    later = time.time() + 3_601
    monkeypatch.setattr(time, "time", lambda: later)
    assert values(await store.get_many("item", ["short", "renewed", "forever"])) == [None, FULL, FULL]
    assert (await store.stats("item")).num_rows == 2


async def test_a_tiny_time_to_live_ends(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("short", FULL, None)], ttl_seconds=0.001)
    await asyncio.sleep(0.01)
    assert await store.get_many("item", ["short"]) == [None]


async def test_old_rows_can_be_left_out(store: FeatureStore) -> None:
    now = time.time()
    await store.create_view(ITEM)
    await store.put_many("item", [("old", FULL, now - 7_200), ("new", FULL, now), ("unknown", FULL, None)])
    ids = ["old", "new", "unknown"]
    assert values(await store.get_many("item", ids, max_age_seconds=3_600)) == [None, FULL, None]
    assert values(await store.get_many("item", ids, max_age_seconds=36_000)) == [FULL, FULL, None]
    assert values(await store.get_many("item", ids)) == [FULL, FULL, FULL]


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf")])
async def test_times_must_be_positive(store: FeatureStore, seconds: float) -> None:
    await store.create_view(ITEM)
    with pytest.raises(ValueError, match="`ttl_seconds` must be greater than 0"):
        await store.put_many("item", [("a", FULL, None)], ttl_seconds=seconds)
    with pytest.raises(ValueError, match="`max_age_seconds` must be greater than 0"):
        await store.get_many("item", ["a"], max_age_seconds=seconds)


async def test_delete(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", FULL, None), ("b", FULL, None), (3, FULL, None)])
    assert await store.delete_many("item", ["a", "nobody", "3", ""]) == 2
    assert values(await store.get_many("item", ["a", "b", 3])) == [None, FULL, None]


async def test_views_are_apart(store: FeatureStore) -> None:
    user = ViewSchema("user", (Column("age", "int"),))
    for schema in (ITEM, user, ViewSchema("item2", (PRICE,))):
        await store.create_view(schema)
    await store.put_many("item", [("x", FULL, None)])
    await store.put_many("user", [("x", {"age": 41}, None), ("y", {"age": 42}, None)])
    assert values(await store.get_many("item", ["x", "y"])) == [FULL, None]
    assert values(await store.get_many("user", ["x", "y"])) == [{"age": 41}, {"age": 42}]
    assert values(await store.get_many("item2", ["x"])) == [None]
    assert await store.views() == ("item", "item2", "user")
    assert [(await store.stats(view)).num_rows for view in await store.views()] == [1, 0, 2]


async def test_an_unknown_view_is_named_with_those_there_are(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    assert await store.schema("itme") is None
    for call in (
        store.get_many("itme", ["a"]),
        store.get_many("itme", []),
        store.put_many("itme", [("a", FULL, None)]),
        store.delete_many("itme", ["a"]),
        store.stats("itme"),
    ):
        with pytest.raises(UnknownView, match=r"view 'itme' is not in the store, which has \['item'\]"):
            await call


async def test_a_view_keeps_its_schema_unless_told(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.create_view(ITEM)
    with pytest.raises(SchemaMismatch, match="new column 'brand'"):
        await store.create_view(WIDER)
    assert await store.schema("item") == ITEM
    await store.create_view(WIDER, replace=True)
    assert await store.schema("item") == WIDER


async def test_rows_of_both_schemas_read_while_one_replaces_the_other(store: FeatureStore, store_text: str) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("old", FULL, None), ("both", FULL, None)])
    assert values(await store.get_many("item", ["old", "both"])) == [FULL, FULL]  # this store now knows one schema
    async with parse_store(store_text).build() as writer:
        await writer.create_view(WIDER, replace=True)
        await writer.put_many("item", [("both", {**FULL, "brand": "b"}, None)])
    assert values(await store.get_many("item", ["both", "old"])) == [{**FULL, "brand": "b"}, FULL]
    stats = await store.stats("item")
    assert (stats.num_rows, stats.num_rows_of_older_schema) == (2, 1)
    await store.create_view(ITEM, replace=True)  # and back
    assert await store.schema("item") == ITEM
    assert values(await store.get_many("item", ["both", "old"])) == [{**FULL, "brand": "b"}, FULL]


async def test_a_row_of_a_schema_that_the_store_has_not_is_refused(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", FULL, None)])
    (raw,) = await raws_of(store, b"a")
    assert raw is not None
    for broken in (raw[:1] + b"12345678" + raw[9:], b"\x02" + raw[1:], raw[:20], raw[:-1], b""):
        await store._write("item", [(b"a", broken)], None)
        with pytest.raises(SchemaMismatch, match=r"view 'item', entity 'a'.*materialize the view again"):
            await store.get_many("item", ["b", "a"])


async def test_an_invalid_row_is_named_and_its_chunk_not_written(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    with pytest.raises(InvalidRow, match="view 'item', entity 'b': column 'price' must be float or null, got 'cheap'"):
        await store.put_many("item", [("a", FULL, None), ("b", {"price": "cheap"}, None)])
    with pytest.raises(InvalidRow, match=r"view 'item', entity 'b': column 'colour' .value 'red'. must be one of"):
        await store.put_many("item", [("a", FULL, None), ("b", {"colour": "red"}, None)])
    assert await store.get_many("item", ["a", "b"]) == [None, None]


async def test_stats(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    nothing = await store.stats("item")
    assert nothing == ("item", ITEM, 0, 0, 0, 0, None, None)
    await store.put_many("item", [("a", FULL, 20.0), ("b", FULL, None), ("c", EMPTY, 10.0)])
    stats = await store.stats("item")
    sizes = [len(raw or b"") for raw in await raws_of(store, b"a", b"b", b"c")]
    assert stats == ("item", ITEM, 3, 0, 0, sum(sizes), 10.0, 20.0)


async def test_many_tasks_may_share_a_store(store: FeatureStore) -> None:
    await store.create_view(ITEM)

    async def own(n: int) -> list[float | None]:
        await store.put_many("item", [(f"{n}-{k}", {"price": n + k / 10}, None) for k in range(5)])
        return await prices(store, [f"{n}-{k}" for k in range(6)])

    answers = await asyncio.gather(*(own(n) for n in range(50)))
    assert answers == [[n + k / 10 for k in range(5)] + [None] for n in range(50)]


async def test_ping_and_closing_twice(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.ping()
    await store.close()
    await store.close()


WRITER = """
import asyncio, sys
from feature_store import Column, ViewSchema, parse_store

async def main():
    columns = (Column("version", "int"), Column("text", "string"))
    async with parse_store(sys.argv[1]).build() as store:
        for version in range(1, 21):
            if version % 5 == 0:
                columns = (*columns, Column(f"extra{version}", "float"))
                await store.create_view(ViewSchema("item", columns), replace=True)
            text = str(version) * 50
            await store.put_many("item", [(n, {"version": version, "text": text}, float(version)) for n in range(300)])

asyncio.run(main())
"""


async def test_readers_see_whole_rows_while_another_process_writes(store: FeatureStore, store_text: str) -> None:
    await store.create_view(ViewSchema("item", (Column("version", "int"), Column("text", "string"))))
    await store.put_many("item", [(n, {"version": 0, "text": ""}, 0.0) for n in range(300)])
    root = Path(feature_store.__file__).parents[1]
    command = (sys.executable, "-c", WRITER, store_text)
    writer = await asyncio.create_subprocess_exec(*command, cwd=root, stderr=subprocess.PIPE)
    newest = [0] * 300
    running = True
    while running:
        running = writer.returncode is None
        rows = await store.get_many("item", range(300))
        for n, row in enumerate(rows):
            assert row is not None
            version = row.values["version"]
            assert row.values["text"] == str(version) * 50 * (version > 0)
            assert row.event_time == version
            assert version >= newest[n]
            newest[n] = version
        await asyncio.sleep(0.005)
    _, errors = await writer.communicate()
    assert (writer.returncode, errors.decode()) == (0, "")
    assert newest == [20] * 300
