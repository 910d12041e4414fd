"""A view written to Parquet reads back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feature_store import Column, FeatureStore, InvalidInput, ViewSchema, export, materialize

SCHEMA = ViewSchema(
    "item",
    (
        Column("n", "int"),
        Column("x", "float"),
        Column("on", "bool"),
        Column("s", "string"),
        Column("ns", "int_list"),
        Column("xs", "float_list"),
        Column("ss", "string_list"),
    ),
)
ROWS: dict[str, dict[str, Any]] = {
    "full": {"n": -(2**63), "x": 0.1, "on": True, "s": "é", "ns": [1, None], "xs": [0.5], "ss": ["a", None]},
    "empty": {"ns": [], "xs": [], "ss": []},
    "null": {},
}


def files(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.is_file()]


async def test_what_is_exported_can_be_imported(store: FeatureStore, tmp_path: Path) -> None:
    await store.create_view(SCHEMA)
    await store.put_many("item", [(entity, values, 7.5) for entity, values in ROWS.items()])
    path = tmp_path / "items.parquet"
    assert await export(store, "item", path, key="item_id", event_time="at") == 3
    assert pq.read_schema(path).names == ["item_id", "at", *SCHEMA.names]
    await materialize(store, "copy", [path], key="item_id", event_time="at", columns=SCHEMA.names)
    assert (await store.schema("copy") or SCHEMA).columns == SCHEMA.columns
    assert await store.get_many("copy", list(ROWS)) == await store.get_many("item", list(ROWS))
    assert files(tmp_path) == ["items.parquet"]


async def test_rows_of_an_earlier_schema_have_the_current_columns(store: FeatureStore, tmp_path: Path) -> None:
    await store.create_view(ViewSchema("item", (Column("n", "int"), Column("gone", "int"))))
    await store.put_many("item", [("a", {"n": 5, "gone": 6}, None)])
    await store.create_view(ViewSchema("item", (Column("n", "int"), Column("new", "string"))), replace=True)
    await export(store, "item", tmp_path / "items.parquet")
    assert pq.read_table(tmp_path / "items.parquet").to_pylist() == [{"id": "a", "n": 5, "new": None}]


async def test_what_does_not_fit_leaves_the_former_file(store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    path.write_text("former")
    await store.create_view(SCHEMA)
    await store.put_many("item", [("a", {"n": 2**64 - 1}, None)])
    with pytest.raises(InvalidInput, match="column 'n' cannot be written as int64"):
        await export(store, "item", path)
    await store.put_many("item", [("a", {}, None), ("\ud800", {}, None)])
    with pytest.raises(InvalidInput, match="column 'id' cannot be written as string"):
        await export(store, "item", path)
    for names in ({"key": "n"}, {"event_time": "id"}, {"event_time": "s"}):
        with pytest.raises(InvalidInput, match="is there already"):
            await export(store, "item", path, **names)
    assert path.read_text() == "former"
    assert files(tmp_path) == ["items.parquet"]
