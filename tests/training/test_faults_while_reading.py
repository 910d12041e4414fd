"""Files that vanish, shrink or change between check and read: one clear error, no hang, no thread left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ranker.encoding import Encoder
from ranker.errors import DataError
from training.ahead import Ahead
from training.config import ExperimentConfig
from training.data import Impressions

Damage = Callable[[Path], None]


def vanish(path: Path) -> None:
    path.unlink()


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def garble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4:-2000] = b"\xff" * len(content[4:-2000])
    path.write_bytes(content)


DAMAGES = [vanish, shrink, garble]


@pytest.fixture
def folder(log_table: pa.Table, tmp_path: Path) -> Path:
    """Three files of several row groups."""
    for number in range(3):
        path = tmp_path / f"part-{number}.parquet"
        pq.write_table(log_table.slice(number * 240, 240), path, row_group_size=31, compression="none")
    return tmp_path


@pytest.fixture
def checked(folder: Path, config: ExperimentConfig) -> Impressions:
    """Checked, before anything happens to it."""
    impressions = Impressions(folder, config)
    impressions.check()
    return impressions


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_before_the_first_batch(damage: Damage, checked: Impressions, folder: Path, encoder: Encoder) -> None:
    damage(folder / "part-1.parquet")
    with Ahead(checked.batches("train", encoder, 64, seed=1)) as batches, pytest.raises(DataError) as caught:
        list(batches)
    assert f"file '{folder / 'part-1.parquet'}' cannot be read" in str(caught.value)
    assert str(caught.value).endswith("; write it again")
    assert [thread.name for thread in threading.enumerate() if thread.name == "ahead"] == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_in_the_midst_of_an_epoch(damage: Damage, folder: Path, checked: Impressions, encoder: Encoder) -> None:
    batches = checked.batches("train", encoder, 5, seed=1)
    assert next(batches).num_rows == 5
    for path in folder.iterdir():
        damage(path)
    with pytest.raises(DataError, match=r"part-\d\.parquet' cannot be read"):
        list(batches)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_rows_in_file_order(damage: Damage, checked: Impressions, folder: Path) -> None:
    damage(folder / "part-2.parquet")
    with pytest.raises(DataError, match=r"part-2\.parquet' cannot be read"):
        list(checked.rows("test"))


def test_fewer_rows_of_the_split_than_were_counted(checked: Impressions, encoder: Encoder) -> None:
    checked.counts_GS[2, 0] += 1
    with pytest.raises(DataError, match=r"part-0\.parquet' holds fewer rows of the split than when it was counted"):
        list(checked.batches("train", encoder, 64, seed=1))
