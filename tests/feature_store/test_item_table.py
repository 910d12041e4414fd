"""Item tables: what is written is read, by id and from files that nobody has touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from feature_store.errors import DamagedTable
from feature_store.item_index import HashedIds
from feature_store.item_table import HEADER, ItemTable, ItemTableWriter, Lists

WIDTH = 3
Chunk = tuple[list[str], np.ndarray[Any, Any], list[list[int]]]


def lists(values: list[list[int]]) -> Lists:
    """Lists as one array and where each begins."""
    offsets = np.cumsum([0, *map(len, values)], dtype=np.int64)
    return Lists(np.array([one for row in values for one in row], np.int32), offsets)


def write(folder: Path, chunks: list[Chunk], note: dict[str, Any] | None = None) -> None:
    """A table of a matrix and a list column."""
    folder.mkdir()
    with ItemTableWriter(folder) as writer:
        for ids, matrix, values in chunks:
            writer.append(ids, {"numbers": matrix}, {"tags": lists(values)})
        writer.finish(note or {})


def chunk(ids: list[str], start: int) -> Chunk:
    """Rows that tell which they are."""
    places = np.arange(start, start + len(ids))
    matrix = (places[:, None] * 10 + np.arange(WIDTH)).astype(np.float32)
    return ids, matrix, [[int(place)] * (place % 4) for place in places]


@given(st.lists(st.lists(st.text(min_size=1, max_size=12), max_size=7), min_size=1, max_size=5))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, ids_of: list[list[str]]) -> None:
    folder = tmp_path_factory.mktemp("tables") / "table"
    starts = np.cumsum([0, *map(len, ids_of)]).tolist()
    write(folder, [chunk(ids, start) for ids, start in zip(ids_of, starts, strict=False)], {"cursor": "c-1"})
    table = ItemTable.open(folder)
    everything = [entity_id for ids in ids_of for entity_id in ids]
    latest = {entity_id: row for row, entity_id in enumerate(everything)}
    rows = table.find(HashedIds.of([*everything, "no such id"]))
    assert rows.tolist() == [*(latest[entity_id] for entity_id in everything), -1]
    assert table.num_rows == len(everything)
    assert table.note == {"cursor": "c-1"}
    for row in range(len(everything)):
        assert table.matrices["numbers"][row].tolist() == [row * 10.0, row * 10.0 + 1, row * 10.0 + 2]
        start, end = table.lists["tags"].offsets[row : row + 2]
        assert table.lists["tags"].values[start:end].tolist() == [row] * (row % 4)


def test_a_table_without_rows_is_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    with ItemTableWriter(folder) as writer:
        writer.finish({})
    table = ItemTable.open(folder)
    assert table.num_rows == 0
    assert table.find(HashedIds.of(["a"])).tolist() == [-1]


def test_mapped_arrays_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "table", [chunk(["a", "b"], 0)])
    table = ItemTable.open(tmp_path / "table")
    with pytest.raises(ValueError, match="read-only"):
        table.matrices["numbers"][0] = 1.0


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "format", "header"])
def test_a_damaged_table_is_not_read(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "table"
    write(folder, [chunk(["a", "b", "c"], 0), chunk(["d"], 3)])
    victim = folder / "list.tags.values.npy"
    content = victim.read_bytes()
    header = (folder / HEADER).read_bytes()
    match damage:
        case "changed":
            victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "cut":
            victim.write_bytes(content[:-4])
        case "gone":
            victim.unlink()
        case "format":
            (folder / HEADER).write_bytes(header.replace(b'"format":1', b'"format":2'))
        case "header":
            (folder / HEADER).write_bytes(header[:-7])
    with pytest.raises(DamagedTable, match="built anew"):
        ItemTable.open(folder)


def test_a_table_that_was_not_finished_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    ids, matrix, _ = chunk(["a", "b"], 0)
    with ItemTableWriter(folder) as writer:
        writer.append(ids, {"numbers": matrix}, {})
    with pytest.raises(DamagedTable, match=HEADER):
        ItemTable.open(folder)


def test_chunks_have_to_be_alike(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    folder.mkdir()
    with ItemTableWriter(folder) as writer:
        writer.append(["a"], {"numbers": np.zeros((1, 2), np.float32)}, {})
        for wrong in (np.zeros((1, 3), np.float32), np.zeros((1, 2))):
            with pytest.raises(ValueError, match="must be float32"):
                writer.append(["b"], {"numbers": wrong}, {})
