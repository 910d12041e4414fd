"""Parquet into a store: the latest row wins, the types arrive, and bad input changes nothing."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import feature_store.parquet
from feature_store import (
    Column,
    FeatureStore,
    InvalidInput,
    Progress,
    SchemaMismatch,
    ViewSchema,
    materialize,
)

ITEMS = {"id": ["a", "b", "c"], "price": [1.5, None, 3.0], "tags": [["x"], [], None]}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes columns to a Parquet file; returns its path."""

    def write_file(columns: dict[str, Any] | pa.Table, name: str = "items.parquet", **options: Any) -> Path:
        path = tmp_path / "input" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
        return path

    return write_file


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches from few rows, and many compactions."""
    monkeypatch.setattr("feature_store.parquet._BATCH_ROWS", 7)
    module = sys.modules["feature_store.materialize"]  # the attribute of that name is the function
    monkeypatch.setattr(module, "_COMPACT_ROWS", 20)


async def stored(store: FeatureStore, *ids: str | int) -> list[dict[str, Any] | None]:
    return [None if row is None else row.values for row in await store.get_many("item", ids)]


async def test_rows_arrive(store: FeatureStore, write: Write) -> None:
    done = await materialize(store, "item", [write(ITEMS)], key="id")
    schema = ViewSchema("item", (Column("price", "float"), Column("tags", "string_list")))
    assert done == (schema, 3, 3)
    assert await store.schema("item") == schema
    assert await stored(store, "c", "a", "z", "b") == [
        {"price": 3.0, "tags": None},
        {"price": 1.5, "tags": ["x"]},
        None,
        {"price": None, "tags": []},
    ]


async def test_types_arrive(store: FeatureStore, write: Write) -> None:
    table = pa.table(
        {
            "id": pa.array([7, 2**64 - 1], pa.uint64()),
            "count": pa.array([2**64 - 1, None], pa.uint64()),
            "brand": pa.array(["x", "x"]).dictionary_encode(),
            "seen": pa.array([datetime(2024, 2, 29, tzinfo=UTC), None], pa.timestamp("ms", "UTC")),
            "vector": pa.array([[0.5, float("nan")], None], pa.list_(pa.float32())),
            "has.dot": [True, None],
            "nested": pa.array([["a", None], []], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
        }
    )
    await materialize(store, "item", [write(table)], key="id")
    first, second = await stored(store, 7, 2**64 - 1)
    assert first == {
        "count": 2**64 - 1,
        "brand": "x",
        "seen": "2024-02-29 00:00:00.000Z",
        "vector": [0.5, None],
        "has.dot": True,
        "nested": ["a", None],
    }
    assert second == {"count": None, "brand": "x", "seen": None, "vector": None, "has.dot": None, "nested": []}


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("with_time", [True, False])
async def test_the_latest_row_of_each_entity_wins(store: FeatureStore, write: Write, with_time: bool) -> None:
    random_rows = random.Random(5)
    files, best = [], dict[str, tuple[int, int]]()
    number = 0
    for name in ("b/1.parquet", "a/2.parquet", "a/1.parquet"):
        ids = [random_rows.randrange(30) for _ in range(61)]
        times = [random_rows.randrange(9) for _ in ids]
        numbers = list(range(number, number + len(ids)))
        number += len(ids)
        files.append(write({"id": ids, "at": times, "number": numbers}, name, row_group_size=23))
        for entity, time, row in zip(ids, times, numbers, strict=True):
            best[str(entity)] = max(best.get(str(entity), (-1, -1)), (time if with_time else 0, row))
    done = await materialize(store, "item", files, key="id", event_time="at" if with_time else None)
    assert (done.num_rows_read, done.num_rows_written) == (183, len(best))
    rows = await store.get_many("item", list(best))
    assert [row and row.values["number"] for row in rows] == [row for _, row in best.values()]
    assert [row and row.event_time for row in rows] == [float(time) if with_time else None for time, _ in best.values()]


async def test_a_folder_is_read_in_the_order_of_names(store: FeatureStore, write: Write) -> None:
    for day, name in enumerate(["day=1/b.parquet", "day=2/a.parquet", "day=2/part/z.parquet"]):
        write({"id": ["a", f"own{day}"], "day": [day, day]}, name)
    write({"id": ["hidden"], "day": [9]}, "_temporary/x.parquet")
    write({"id": ["hidden"], "day": [9]}, ".x.parquet")
    folder = write({"id": ["other"], "day": [9]}, "notes.txt").parent
    done = await materialize(store, "item", [folder], key="id")
    assert done.num_rows_written == 4
    assert await stored(store, "a", "own0", "own2", "hidden", "other") == [
        {"day": 2},
        {"day": 0},
        {"day": 2},
        None,
        None,
    ]


async def test_columns_can_be_chosen_and_may_differ_elsewhere(store: FeatureStore, write: Write) -> None:
    files = [
        write({"id": [1], "price": [1.0], "blob": [b"x"]}, "1.parquet"),
        write({"blob": ["text"], "price": pa.array([2.0], pa.float32()), "id": ["2"]}, "2.parquet"),
    ]
    await materialize(store, "item", files, key="id", columns=["price"])
    assert await stored(store, 1, 2) == [{"price": 1.0}, {"price": 2.0}]


async def test_entities_that_are_not_in_the_files_stay(store: FeatureStore, write: Write) -> None:
    await materialize(store, "item", [write({"id": ["a", "b"], "n": [1, 1]})], key="id")
    await materialize(store, "item", [write({"id": ["b", "c"], "n": [2, 2]})], key="id")
    assert await stored(store, "a", "b", "c") == [{"n": 1}, {"n": 2}, {"n": 2}]


async def test_new_columns_replace_the_schema_on_demand(store: FeatureStore, write: Write) -> None:
    await materialize(store, "item", [write({"id": ["a", "b"], "n": [1, 1]})], key="id")
    wider = write({"id": ["b"], "n": [2], "brand": ["x"]})
    with pytest.raises(SchemaMismatch, match=r"new column 'brand'.*--replace-schema"):
        await materialize(store, "item", [wider], key="id")
    assert await stored(store, "a", "b") == [{"n": 1}, {"n": 1}]
    await materialize(store, "item", [wider], key="id", replace_schema=True)
    assert await stored(store, "a", "b") == [{"n": 1}, {"n": 2, "brand": "x"}]


async def test_a_time_to_live_is_passed_on(store: FeatureStore, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    await materialize(store, "item", [write(ITEMS)], key="id", ttl_seconds=3_600)
    assert None not in await stored(store, "a", "b", "c")
    later = datetime.now(UTC).timestamp() + 3_601
    monkeypatch.setattr("time.time", lambda: later)
    assert await stored(store, "a", "b", "c") == [None, None, None]


@pytest.mark.usefixtures("small_batches")
async def test_progress_goes_to_the_end_in_both_passes(store: FeatureStore, write: Write) -> None:
    seen: list[Progress] = []
    paths = [write({"id": list(range(n, n + 10)), "n": list(range(10))}, f"{n}.parquet") for n in (0, 10)]
    await materialize(store, "item", paths, key="id", on_progress=seen.append)
    for phase in ("checking", "writing"):
        counts = [progress.num_rows for progress in seen if progress.phase == phase]
        assert counts == [7, 10, 17, 20]
    assert {progress.total_rows for progress in seen} == {20}


def bad_inputs() -> dict[str, tuple[dict[str, Any], dict[str, Any], str]]:
    """Name -> columns of the second of two files, options, and what the message says."""
    good = {"id": ["d"], "price": [1.0], "tags": [["x"]]}
    return {
        "null_key": ({**good, "id": pa.array([None], pa.string())}, {}, "key column 'id' must not be null.*in row 0"),
        "empty_key": ({**good, "id": [""]}, {}, "key column 'id' must not be null or empty, got ''"),
        "float_key": ({**good, "id": [1.5]}, {}, "key column 'id' must hold strings or integers, got double"),
        "no_key": ({"price": [1.0], "tags": [["x"]]}, {}, "column 'id' is missing"),
        "no_column": ({"id": ["d"], "price": [1.0]}, {}, "without column 'tags'"),
        "other_type": ({**good, "price": ["cheap"]}, {}, "column 'price' from float to string"),
        "binary": ({**good, "price": [b"x"]}, {}, "column 'price' must hold .* got binary; cast it to a string"),
        "all_null": ({**good, "price": pa.nulls(1)}, {}, "no value in it tells its type"),
        "infinite": ({**good, "price": [float("inf")]}, {}, "column 'price' must be finite"),
        "infinite_list": ({**good, "tags": [["x"]], "price": [-float("inf")]}, {}, "rows 0 to 0: column 'price'"),
        "no_time": (good, {"event_time": "at"}, "event-time column 'at' is missing"),
        "text_time": (good, {"event_time": "id"}, "event-time column 'id' must hold timestamps"),
        "null_time": (
            {**good, "price": pa.nulls(1, pa.float64())},
            {"event_time": "price"},
            "event-time column 'price' must not be null",
        ),
        "no_such_choice": (good, {"columns": ["prise"]}, "column 'prise' is missing"),
        "key_chosen": (good, {"columns": ["id"]}, "cannot also be a feature column"),
    }


@pytest.mark.parametrize("case", bad_inputs())
async def test_bad_input_is_named_and_changes_nothing(store: FeatureStore, write: Write, case: str) -> None:
    columns, options, message = bad_inputs()[case]
    good = write({"id": ["a"], "price": [1.0], "tags": [["x"]]}, "1.parquet")
    bad = write(columns, "2.parquet")
    with pytest.raises(InvalidInput, match=message) as caught:
        await materialize(store, "item", [good, bad], key="id", **options)
    expected = good if case in ("no_time", "text_time", "no_such_choice", "key_chosen") else bad
    assert f"file '{expected}'" in str(caught.value)
    with pytest.raises(Exception, match=r"is not in the store, which has \[\]|no LMDB store"):
        await store.get_many("item", ["a"])


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "no_footer", "page"])
async def test_unreadable_files_are_named_and_change_nothing(store: FeatureStore, write: Write, damage: str) -> None:
    good = write({"id": ["a"], "n": [1]}, "1.parquet")
    columns = {"id": [f"i{n}" for n in range(5_000)], "n": list(range(5_000))}
    bad = write(columns, "2.parquet", write_page_checksum=True, use_dictionary=False, compression="zstd")
    content = bad.read_bytes()
    broken = {
        "empty": b"",
        "text": b"id,n\na,1\n" * 50,
        "cut": content[: len(content) // 2],
        "no_footer": content[:-4] + b"xxxx",
        "page": content[:2_000] + bytes(500) + content[2_500:],
    }
    bad.write_bytes(broken[damage])
    with pytest.raises(InvalidInput, match=f"file '{bad}' is not a readable Parquet file"):
        await materialize(store, "item", [good, bad], key="id")
    with pytest.raises(Exception, match=r"is not in the store, which has \[\]|no LMDB store"):
        await store.get_many("item", ["a"])


async def test_nothing_to_read(store: FeatureStore, write: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    none = write({"id": pa.array([], pa.string()), "n": pa.array([], pa.int8())}, "none.parquet")
    key_only = write({"id": ["a"]}, "key.parquet")
    for paths, message in (
        ([], "no Parquet file was named"),
        ([tmp_path / "absent"], "does not exist; correct the path"),
        ([tmp_path / "empty"], r"holds no \*.parquet file"),
        ([none, none], "no rows in '.*none.parquet' and 1 other files"),
        ([key_only], "at least one column besides the key"),
    ):
        with pytest.raises(InvalidInput, match=message):
            await materialize(store, "item", paths, key="id")


async def test_an_empty_file_among_others_is_fine(store: FeatureStore, write: Write) -> None:
    none = write({"id": pa.array([], pa.string()), "n": pa.array([], pa.int8())}, "none.parquet")
    some = write({"id": ["a"], "n": [1]}, "some.parquet")
    assert (await materialize(store, "item", [none, some], key="id")).num_rows_written == 1


def test_batches_are_bounded(write: Write) -> None:
    path = write({"id": list(range(50_000)), "n": list(range(50_000))})
    sizes = [len(batch.keys) for batch in feature_store.parquet.ParquetSource([path], "item", "id").batches()]
    assert sum(sizes) == 50_000
    assert max(sizes) <= 16_384
