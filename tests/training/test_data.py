"""Every row of a split once per epoch, in an order that the seed alone decides; what is wrong names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ranker.encoding import Encoder
from ranker.errors import DataError
from training.batches import Batch, encode_batch
from training.config import ExperimentConfig
from training.data import Impressions
from training.log_columns import label_values
from training.parquet_log import ParquetLog

Settings = dict[str, Any]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def rows(log_table: pa.Table) -> pa.Table:
    """The log, each row with a number of its own as its timestamp."""
    return log_table.set_column(log_table.column_names.index("time"), "time", pa.array(range(log_table.num_rows)))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(table: pa.Table, row_group_size: int = 97) -> Path:
        path = tmp_path / "log.parquet"
        pq.write_table(table, path, row_group_size=row_group_size)
        return path

    return write


def numbers(batches: Iterable[pa.RecordBatch]) -> list[int]:
    return [number for batch in batches for number in batch.column("time").to_pylist()]


def names(batches: Iterable[Batch]) -> list[int]:
    """Numbers of the rows of encoded batches."""
    return [batch.names.ids["time"][place].as_py() for batch in batches for place in batch.names.places]


def assert_same(found: Batch, expected: Batch) -> None:
    for one, other in zip(
        (*found.encoded.request, *found.encoded.item, *found.targets[:2]),
        (*expected.encoded.request, *expected.encoded.item, *expected.targets[:2]),
        strict=True,
    ):
        assert one.dtype == other.dtype
        assert one.is_contiguous()
        assert torch.equal(one, other)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_rows_come_in_file_order(split: Any, rows: pa.Table, write: Write, config: ExperimentConfig) -> None:
    expected = [n for n, name in zip(rows["time"].to_pylist(), rows["split"].to_pylist(), strict=True) if name == split]
    impressions = Impressions(write(rows), config)
    assert numbers(impressions.rows(split)) == expected
    assert numbers(impressions.rows(split, 13)) == expected
    assert impressions.num_rows == rows.num_rows


@pytest.mark.parametrize("batch_size", [1, 64, 130, 131, 490, 5000])
@pytest.mark.parametrize("shuffle_rows", [1, 100, 10_000])
def test_every_row_once_per_epoch(
    batch_size: int, shuffle_rows: int, rows: pa.Table, write: Write, settings: Settings, encoder: Encoder
) -> None:
    settings["training"]["shuffle_rows"] = shuffle_rows
    impressions = Impressions(write(rows), ExperimentConfig.model_validate(settings))
    batches = list(impressions.batches("train", encoder, batch_size, seed=1))
    sizes = [batch.num_rows for batch in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= batch_size
    assert sorted(names(batches)) == list(range(490))


def test_order_depends_on_the_seed_alone(
    rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder
) -> None:
    path = write(rows)
    first = names(Impressions(path, config).batches("train", encoder, 64, seed=1))
    assert names(Impressions(path, config).batches("train", encoder, 64, seed=1)) == first
    other = names(Impressions(path, config).batches("train", encoder, 64, seed=2))
    assert other != first
    assert sorted(other) == sorted(first)
    assert first != sorted(first)


@pytest.mark.parametrize("row_group_size", [1, 50, 700])
def test_rows_do_not_depend_on_row_groups(
    row_group_size: int, rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder
) -> None:
    batches = Impressions(write(rows, row_group_size), config).batches("train", encoder, 64, seed=1)
    assert sorted(names(batches)) == list(range(490))


def test_batches_are_their_rows_encoded(
    rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder
) -> None:
    for batch in Impressions(write(rows), config).batches("train", encoder, 64, seed=3):
        assert_same(batch, encode_batch(encoder, rows.take(names([batch]))))


@pytest.mark.parametrize("start", [1, 2, 3, 7, 8])
def test_reading_begins_at_any_step(
    start: int, rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder
) -> None:
    path = write(rows)
    everything = list(Impressions(path, config).batches("train", encoder, 64, seed=3))
    assert len(everything) == 8
    later = list(Impressions(path, config).batches("train", encoder, 64, seed=3, start=start))
    assert len(later) == 8 - start
    for batch, expected in zip(later, everything[start:], strict=True):
        assert_same(batch, expected)


def test_groups_before_the_start_and_of_other_splits_are_not_read(
    rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    impressions = Impressions(write(rows), config)
    impressions.check()
    read: list[int] = []
    whole = ParquetLog.read

    def record(log: ParquetLog, group: int, columns: tuple[str, ...], batch_size: int) -> Iterator[pa.RecordBatch]:
        read.append(group)
        return whole(log, group, columns, batch_size)

    monkeypatch.setattr(ParquetLog, "read", record)
    list(impressions.batches("train", encoder, 64, seed=3))
    assert sorted(read) == list(range(6))
    read.clear()
    list(impressions.batches("train", encoder, 64, seed=3, start=6))
    assert 0 < len(read) < 4
    read.clear()
    list(impressions.rows("test"))
    assert read == [6, 7]


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_the_rows(
    world: int, rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder
) -> None:
    path = write(rows)
    shares = [
        list(Impressions(path, config).batches("train", encoder, 29, seed=4, rank=rank, world=world))
        for rank in range(world)
    ]
    assert sorted(names(batch for share in shares for batch in share)) == list(range(490))
    assert len({len(share) for share in shares}) == 1


def test_a_process_without_rows_gets_empty_batches(
    rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder
) -> None:
    shares = [
        list(Impressions(write(rows), config).batches("train", encoder, 1, seed=4, rank=rank, world=491))
        for rank in (0, 490)
    ]
    assert [[batch.num_rows for batch in share] for share in shares] == [[0], [1]]
    assert_same(shares[0][0], encode_batch(encoder, rows.slice(0, 0)))


STRINGS: dict[str, tuple[pa.DataType, pa.DataType]] = {
    "plain": (pa.string(), pa.list_(pa.string())),
    "large": (pa.large_string(), pa.large_list(pa.large_string())),
    "views": (pa.string_view(), pa.list_(pa.large_string())),
    "codes": (pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.string())),
}


@pytest.mark.parametrize("name", STRINGS)
def test_strings_of_all_kinds_are_read_as_codes(
    name: str, rows: pa.Table, write: Write, config: ExperimentConfig, encoder: Encoder
) -> None:
    text, texts = STRINGS[name]
    city = rows["city"].dictionary_encode().cast(text) if name == "codes" else rows["city"].cast(text)
    impressions = Impressions(write(replaced(replaced(rows, "city", city), "tags", rows["tags"].cast(texts))), config)
    read = next(impressions.rows("train"))
    assert pa.types.is_dictionary(read.column("city").type)
    assert pa.types.is_dictionary(read.column("tags").type.value_type)
    for batch in impressions.batches("train", encoder, 64, seed=3):
        assert_same(batch, encode_batch(encoder, rows.take(names([batch]))))


def test_folder_of_files_and_partitions(
    rows: pa.Table, tmp_path: Path, config: ExperimentConfig, encoder: Encoder
) -> None:
    for name in ("train", "valid", "test"):
        folder = tmp_path / "outer=1" / "log" / f"split={name}"  # a folder above the data is no partition
        folder.mkdir(parents=True)
        part = rows.filter(pa.compute.equal(rows["split"], name)).drop_columns("split")
        pq.write_table(part.slice(0, 40), folder / "a.parquet")
        pq.write_table(part.slice(40), folder / "b.parquet", row_group_size=30)
    impressions = Impressions(tmp_path / "outer=1" / "log", config)
    assert sorted(names(impressions.batches("train", encoder, 64, seed=1))) == list(range(490))
    assert impressions.check()["test"]["rows"] == 105


def test_files_may_differ_in_width_of_types(rows: pa.Table, tmp_path: Path, config: ExperimentConfig) -> None:
    nothing = rows.slice(0, 100)
    nothing = nothing.set_column(nothing.column_names.index("spend"), "spend", pa.nulls(100))
    nothing = nothing.set_column(nothing.column_names.index("click"), "click", nothing["click"].cast(pa.int8()))
    pq.write_table(nothing, tmp_path / "a.parquet")
    pq.write_table(rows.slice(100), tmp_path / "b.parquet")
    impressions = Impressions(tmp_path, config)
    assert numbers(impressions.rows("train")) == list(range(490))
    assert impressions.check()["train"]["rows"] == 490


def test_check_counts(rows: pa.Table, write: Write, config: ExperimentConfig) -> None:
    counts = Impressions(write(rows), config).check()
    train = rows.slice(0, 490)
    clicks = int(np.sum(train["click"].to_numpy()))
    expected = {"rows": 490, "ctr": 490, "cvr": clicks, "spend": 490 - train["spend"].null_count, "ctcvr": 490}
    assert counts["train"] == expected
    assert sum(split["rows"] for split in counts.values()) == 700


def replaced(table: pa.Table, name: str, values: Any, row: int | None = None) -> pa.Table:
    """One column changed, wholly or in one row."""
    if row is not None:
        new = table[name].to_pylist()
        new[row] = values
        values = new
    column = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    return table.set_column(table.column_names.index(name), name, column)


BAD_ROWS: dict[str, tuple[Callable[[pa.Table], pa.Table], list[str]]] = {
    "label not 0 or 1": (
        lambda t: replaced(t, "click", 7, 600),
        ["'click'", "0, 1 or null", "from row 582", "got 7 in row 18"],
    ),
    "label that is text": (lambda t: replaced(t, "click", ["1"] * 700), ["'click'", "numeric", "'1'"]),
    "infinite label": (lambda t: replaced(t, "spend", float("inf"), 3), ["'spend'", "finite", "inf"]),
    "infinite number": (
        lambda t: replaced(t, "price", float("-inf"), 690),
        ["'price'", "-inf", "from row 679", "row 11"],
    ),
    "text where numbers belong": (lambda t: replaced(t, "age", ["old"] * 700), ["'age'", "numbers", "'old'"]),
    "lists where text belongs": (lambda t: replaced(t, "city", [["a"]] * 700), ["'city'", "categorical_list"]),
    "text where lists belong": (lambda t: replaced(t, "tags", ["a"] * 700), ["'tags'", "lists", "categorical"]),
    "no column": (lambda t: t.drop_columns("price"), ["lacks column 'price'", "add the column"]),
    "no label column": (lambda t: t.drop_columns("buy"), ["lacks column 'buy'", "correct the config"]),
    "no row of a split": (lambda t: replaced(t, "split", ["train"] * 700), ["split 'valid' has no rows", "'split'"]),
    "no row in a sample space": (lambda t: replaced(t, "click", [0] * 700), ["task 'cvr'", "click = 1"]),
    "no label at all": (lambda t: replaced(t, "spend", pa.nulls(700)), ["task 'spend'", "not null"]),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_name_the_file(name: str, rows: pa.Table, write: Write, config: ExperimentConfig) -> None:
    change, words = BAD_ROWS[name]
    path = write(change(rows))
    with pytest.raises(DataError) as caught:
        Impressions(path, config).check()
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_bad_row_in_a_later_batch_says_where_rows_begin(rows: pa.Table, write: Write, config: ExperimentConfig) -> None:
    many = pa.concat_tables([rows] * 95).combine_chunks()
    path = write(replaced(many, "price", float("inf"), 66_000))
    with pytest.raises(DataError, match="rows counted from row") as caught:
        Impressions(path, config).check()
    assert "log.parquet" in str(caught.value)


def test_files_of_different_types(rows: pa.Table, tmp_path: Path, config: ExperimentConfig) -> None:
    pq.write_table(rows.slice(0, 300), tmp_path / "a.parquet")
    pq.write_table(replaced(rows, "price", ["x"] * 700), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet' holds string in column 'price', files before it double"):
        Impressions(tmp_path, config)


@pytest.mark.parametrize("kept", [0, 3, 1000, -9])
def test_truncated_file(kept: int, log_file: Path, tmp_path: Path, config: ExperimentConfig) -> None:
    path = tmp_path / "short.parquet"
    path.write_bytes(log_file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"short\.parquet' is not readable Parquet .*; write it again"):
        Impressions(path, config)


def test_damaged_page(log_file: Path, tmp_path: Path, config: ExperimentConfig) -> None:
    path = tmp_path / "damaged.parquet"
    content = bytearray(log_file.read_bytes())
    content[4:4000] = b"\xff" * 3996
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged\.parquet' cannot be read"):
        Impressions(path, config).check()


def test_nothing_there(tmp_path: Path, config: ExperimentConfig) -> None:
    with pytest.raises(DataError, match=r"none\.parquet' does not exist"):
        Impressions(tmp_path / "none.parquet", config)
    with pytest.raises(DataError, match=r"holds no \.parquet file"):
        Impressions(tmp_path, config)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([True, None, False]), [1.0, None, 0.0]),
        (pa.array([1, None, 0], pa.int8()), [1.0, None, 0.0]),
        (pa.array([0.5, None, float("nan")]), [0.5, None, None]),
        (pa.nulls(2), [None, None]),
        (pa.array([1, 0, 1]).dictionary_encode(), [1.0, 0.0, 1.0]),
    ],
)
def test_label_values(array: pa.Array, expected: list[float | None]) -> None:
    found = label_values(array)
    assert [None if np.isnan(value) else value for value in found] == expected
