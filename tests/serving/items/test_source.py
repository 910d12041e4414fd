"""Items that come from Parquet files in place of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from feature_store import parse_store
from serving.items import tables as item_tables
from tests.serving.conftest import ITEMS, World, eventually
from tests.serving.items.conftest import serving


def write_items(path: Path, items: dict[str, dict[str, Any]]) -> None:
    """Items as a Parquet file that appears whole."""
    rows = [{"item_id": item, **values, "listed_at": 1.7e9} for item, values in items.items()]
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


async def test_items_may_come_from_parquet_files_in_place_of_the_store(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_tables, "_PAUSE_SECONDS", 0.01)
    folder = tmp_path / "items"
    folder.mkdir()
    async with serving(world) as client:
        expected = await client.ranking()
    async with parse_store(world.store_text).build() as store:
        await store.delete_many("item", list(ITEMS))
    config = {"poll_seconds": 0.01, "parquet": folder, "parquet_event_time": "listed_at"}
    async with serving(world, wait=False, item_table=config) as client:
        assert await client.degraded() == ["item_features_unavailable"]
        write_items(folder / "part-0.parquet", ITEMS)
        await eventually(client.has_table)
        assert await client.ranking() == expected
        write_items(folder / "part-0.parquet", {**ITEMS, "i3": ITEMS["i5"], "fresh": ITEMS["i6"]})

        async def is_seen() -> bool:
            return bool((await client.ranking())["i3"] != expected["i3"])

        await eventually(is_seen)
        assert (await client.post("/rank", json={"candidates": ["fresh", "i4"]})).json()["missing"]["items"] == 0
        assert await client.degraded() == []


async def test_files_that_lack_a_column_are_told(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_tables, "_PAUSE_SECONDS", 0.01)
    file = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ["i1"], "price": [2.0]}), file)
    async with serving(world, wait=False, item_table={"poll_seconds": 0.01, "parquet": file}) as client:

        async def told_twice() -> bool:
            return caplog.text.count("item table was not built") >= 2

        await eventually(told_twice)
        told = [vars(record) for record in caplog.records if "not built" in record.message]
        assert all("'brand'" in record["reason"] for record in told)
        assert [record["again_in_seconds"] for record in told][:2] == [0.01, 0.02]
        assert await client.degraded() == ["item_features_unavailable"]


def test_files_without_a_table_are_refused(world: World) -> None:
    with pytest.raises(ValidationError, match="`parquet` needs `enabled`"):
        world.settings(item_table={"enabled": False, "parquet": world.folder})
