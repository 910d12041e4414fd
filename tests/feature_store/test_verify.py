"""Broken rows are found and named, and no whole one is blamed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import Column, FeatureStore, UnknownView, ViewSchema, materialize, verify
from feature_store.encoder import RowEncoder
from feature_store.parquet import ParquetSource

ITEM = ViewSchema("item", (Column("price", "float"), Column("tags", "string_list")))
OTHER = ViewSchema("item", (Column("price", "string"), Column("tags", "string_list")))


async def test_what_is_whole_passes(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("old", {"price": 1.0}, 5.0)])
    await store.create_view(OTHER, replace=True)
    await store.put_many("item", [(n, {"price": str(n)}, None) for n in range(7)], ttl_seconds=60)
    found = await verify(store, "item")
    assert found == ("item", 8, 0, 0, 0, ())
    with pytest.raises(UnknownView):
        await verify(store, "itme")


async def test_each_broken_row_is_named(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("good", {"price": 1.0}, 5.0)])
    raw = RowEncoder(ITEM).encode("e", {"price": 1.0, "tags": ["x"]}, None)
    wrong = RowEncoder(OTHER).encode("e", {"price": "cheap"}, None)
    broken = [raw[:-1], raw[:7], b"", raw[:1] + b"12345678" + raw[9:], wrong[:1] + ITEM.digest + wrong[9:]]
    await store._write("item", [(b"broken%d" % n, row) for n, row in enumerate(broken)], None)
    found = await verify(store, "item")
    assert (found.num_rows, found.num_faults) == (6, 5)
    words = ["not a packed row", "not a packed row", "not a packed row", "known are format 1", "must be float or null"]
    for number, word in enumerate(words):
        assert any(f"view 'item', entity 'broken{number}': " in fault and word in fault for fault in found.faults)


async def test_rows_are_compared_with_files(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    prices = [1.0, None, float("nan"), 4.0, 5.0]
    pq.write_table(pa.table({"id": ["a", "b", "c", "d", "a"], "price": prices, "at": [2, 2, 2, 2, 1]}), path)
    await materialize(store, "item", [path], key="id", event_time="at")
    source = ParquetSource([path], "item", "id", "at")
    found = await verify(store, "item", source)
    assert (found.num_compared_rows, found.faults) == (4, ())
    await store.put_many("item", [("new", {}, None)])  # more than the files have is fine
    await store.update_many("item", [("a", {"price": 9.0}, None), ("d", {}, 7.0)])
    await store.delete_many("item", ["c"])
    assert sorted((await verify(store, "item", source)).faults) == [
        "view 'item', entity 'a': column 'price' is 9.0, the files have 1.0",
        "view 'item', entity 'c': the files have a row, the store has none",
        "view 'item', entity 'd': its event time is 7.0, the files have 2.0",
    ]
