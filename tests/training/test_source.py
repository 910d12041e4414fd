"""Data lie at a path or at a URL: the same rows, the same names in errors but for what stands in front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ranker.encoding import Encoder
from ranker.errors import DataError
from training.config import ExperimentConfig
from training.data import Impressions
from training.source import Source


@pytest.fixture
def memory(log_table: pa.Table) -> Iterator[str]:
    """The log in hive partitions on a filesystem that is none of this machine."""
    files = fsspec.filesystem("memory")
    for split in ("train", "valid", "test"):
        rows = log_table.filter(pa.compute.equal(log_table["split"], split)).drop_columns("split")
        with files.open(f"/bucket/log/split={split}/part-0.parquet", "wb") as file:
            pq.write_table(rows, file, row_group_size=97)
    yield "memory://bucket/log"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def times(impressions: Impressions, split: str = "train") -> list[int]:
    return [time for batch in impressions.rows(split) for time in batch.column("time").to_pylist()]  # type: ignore[arg-type]


def test_a_url_reads_as_a_path_does(
    memory: str, log_file: Path, log_table: pa.Table, config: ExperimentConfig, encoder: Encoder
) -> None:
    there, here = Impressions(memory, config), Impressions(log_file, config)
    assert there.check() == here.check()
    assert there.num_rows == here.num_rows == log_table.num_rows
    assert there.name == "log"
    for split in ("train", "valid", "test"):
        assert times(there, split) == times(here, split)
    names = [batch.names for batch in there.batches("train", encoder, 64, seed=1)]
    seen = [of_batch.ids["time"][place].as_py() for of_batch in names for place in of_batch.places]
    assert sorted(seen) == times(here)


def test_a_file_url_is_a_path(log_file: Path, config: ExperimentConfig) -> None:
    impressions = Impressions(f"file://{log_file}", config)
    assert times(impressions) == times(Impressions(log_file, config))
    assert Source.find(f"file://{log_file.parent}") == Source(
        f"file://{log_file.parent}", Source.find(log_file).filesystem, str(log_file.parent), (str(log_file),)
    )


def test_one_file_at_a_url(memory: str, log_table: pa.Table, config: ExperimentConfig) -> None:
    with fsspec.open("memory://bucket/one.parquet", "wb") as file:
        pq.write_table(log_table, file)
    impressions = Impressions("memory://bucket/one.parquet", config)
    assert impressions.name == "one.parquet"
    assert len(times(impressions)) == 490


def test_errors_name_the_url(memory: str, config: ExperimentConfig, encoder: Encoder) -> None:
    with pytest.raises(DataError, match=r"data 'memory://bucket/none' does not exist"):
        Impressions("memory://bucket/none", config)
    impressions = Impressions(memory, config)
    impressions.check()
    fsspec.filesystem("memory").rm("/bucket/log/split=train/part-0.parquet")
    with pytest.raises(DataError, match=r"file 'memory:///bucket/log/split=train/part-0\.parquet' cannot be read"):
        list(impressions.batches("train", encoder, 64, 1))
    with fsspec.open("memory://bucket/log/split=train/part-0.parquet", "wb") as file:
        file.write(b"PAR1 but no more")
    with pytest.raises(DataError, match=r"file 'memory:///bucket/log/split=train/part-0\.parquet' is not readable"):
        Impressions(memory, config)


def test_a_folder_without_parquet(memory: str) -> None:
    fsspec.filesystem("memory").pipe("/bucket/empty/notes.txt", b"x")
    with pytest.raises(DataError, match=r"folder 'memory://bucket/empty' holds no \.parquet file"):
        Source.find("memory://bucket/empty")


@pytest.mark.parametrize(("url", "message"), [("nosuch://x/y", "cannot be opened"), ("s3://x/y", "needs a package")])
def test_an_address_that_cannot_be_read(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    if message == "needs a package":  # whether s3fs is here or not
        monkeypatch.setattr("fsspec.url_to_fs", missing)
    with pytest.raises(DataError, match=message):
        Source.find(url)


def test_files_are_sorted_folder_by_folder(tmp_path: Path) -> None:
    for name in ("b/1.parquet", "b-2/1.parquet", "a.parquet", "b/0.parquet", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(Path(file).relative_to(tmp_path)) for file in Source.find(tmp_path).files]
    assert found == ["a.parquet", "b/0.parquet", "b/1.parquet", "b-2/1.parquet"]
