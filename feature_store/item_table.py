"""Columns of numbers by entity id, in files that processes map and so share: one copy in memory, whoever reads it.

A table is a folder of NumPy files and a header, written once and never changed:

table.json                       format, rows, a note of who wrote it, size and sha256 of every other file
id.offsets.npy, id.bytes.npy     ids as text
index.*.npy                      where the row of an id is, see `item_index`
matrix.NAME.npy                  numbers of one type [N, width]: a row lies together, so one read of memory gets it
list.NAME.{offsets,values}.npy   lists of numbers of any length

What the numbers mean is up to the writer. The folder is to be written under a temporary name, synced, and renamed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_store.entity import EntityId
from feature_store.errors import DamagedTable
from feature_store.growing_array import GrowingArray
from feature_store.item_index import HashedIds, IdIndex, Rows

# Shapes: N = rows of the table

HEADER = "table.json"
FORMAT = 1
_OFFSETS, _VALUES = "offsets", "values"


class Lists(NamedTuple):
    """Lists of numbers, one a row.

    Attributes:
        values: Of all rows, one row after the other.
        offsets: Where in `values` each row begins, and behind the last where it ends [N + 1].
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]


class File(msgspec.Struct, frozen=True):
    """What a file of a table must be."""

    num_bytes: int
    sha256: str


class Header(msgspec.Struct, frozen=True):
    """Content of `table.json`."""

    format: int
    num_rows: int
    files: dict[str, File]
    note: dict[str, Any]


class ItemTable(NamedTuple):
    """Rows of numbers by id, mapped from files or held in memory.

    Attributes:
        id_index: The row of each id.
        matrices: By name, [N, width].
        lists: By name.
        note: What the writer said about it, plain JSON.
        num_bytes: Size of all arrays.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ItemTableWriter(Path(folder)) as writer:
        ...         writer.append(["i1", 7], {"price": np.array([[2.5], [4.0]])}, {})
        ...         writer.finish({"written_by": "an example"})
        ...     table = ItemTable.open(Path(folder))
        ...     table.matrices["price"].take(table.id_index.find(HashedIds.of(["7", "i1"])), axis=0).tolist()
        [[4.0], [2.5]]
    """

    id_index: IdIndex
    matrices: Mapping[str, npt.NDArray[Any]]
    lists: Mapping[str, Lists]
    note: Mapping[str, Any]
    num_bytes: int

    @classmethod
    def of(
        cls, ids: Sequence[EntityId], matrices: Mapping[str, npt.NDArray[Any]], lists: Mapping[str, Lists]
    ) -> ItemTable:
        """A table in memory."""
        index = IdIndex.build(HashedIds.of(ids))
        return cls(index, matrices, lists, {}, 0)

    @classmethod
    def open(cls, folder: Path) -> ItemTable:
        """Map a table, after every byte was compared with what the header says; that also brings it into memory.

        Raises:
            DamagedTable: A file is absent, altered, or of a format that this code does not know.
        """
        try:
            header = msgspec.json.decode((folder / HEADER).read_bytes(), type=Header)
            if header.format != FORMAT:
                raise DamagedTable(f"`format` in '{folder / HEADER}' must be {FORMAT}, got {header.format}; {_FIX}")
            arrays = {name: _mapped(folder / name, file) for name, file in header.files.items()}
        except (OSError, ValueError, msgspec.DecodeError) as exc:
            raise DamagedTable(f"item table '{folder}' cannot be read: {exc}; {_FIX}") from exc
        texts = _binary(arrays["id.offsets.npy"], arrays["id.bytes.npy"])
        index = IdIndex(texts, *(arrays[f"index.{part}.npy"] for part in ("hashes", "rows", "directory")))
        matrices = {name: arrays[f"matrix.{name}.npy"] for name in _names(arrays, "matrix.", ".npy")}
        lists = {
            name: Lists(arrays[f"list.{name}.{_VALUES}.npy"], arrays[f"list.{name}.{_OFFSETS}.npy"])
            for name in _names(arrays, "list.", f".{_VALUES}.npy")
        }
        return cls(index, matrices, lists, header.note, sum(file.num_bytes for file in header.files.values()))

    @property
    def num_rows(self) -> int:
        """Rows of the table."""
        return len(self.id_index.texts)

    def find(self, ids: HashedIds) -> Rows:
        """The row of each id; -1 where there is none."""
        return self.id_index.find(ids)


class ItemTableWriter:
    """Writes a table chunk by chunk. Memory holds one chunk, and the hash of every id.

    Args:
        folder: Where to; empty, and not to be read before `finish`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = ExitStack()
        self._arrays: dict[str, GrowingArray] = {}
        self._hashes: list[npt.NDArray[np.uint64]] = []
        self._ends: dict[str, int] = {}

    def __enter__(self) -> Self:
        """The writer; its files are closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._files.__exit__(kind, error, trace)

    def append(
        self, ids: Sequence[EntityId], matrices: Mapping[str, npt.NDArray[Any]], lists: Mapping[str, Lists]
    ) -> None:
        """Rows for more ids; of an id that comes repeatedly the latest row counts.

        Args:
            ids: Of the rows.
            matrices: By name, [rows, width]; names, types and widths as in the first call.
            lists: By name, likewise.

        Raises:
            OSError: The disk is full, or cannot be written.
        """
        texts, hashes = HashedIds.of(ids)
        self._hashes.append(hashes)
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets, np.int64, len(texts) + 1) if len(texts) else np.zeros(1, np.int64)
        self._append_lists("id", Lists(np.frombuffer(data or b"", np.uint8, int(ends[-1])), ends), "bytes")
        for name, matrix in matrices.items():
            self._array(f"matrix.{name}.npy", matrix).append(matrix)
        for name, one in lists.items():
            self._append_lists(f"list.{name}", one, _VALUES)

    def finish(self, note: Mapping[str, Any]) -> None:
        """Index the ids and write the header.

        Args:
            note: Whatever a reader shall know, plain JSON.

        Raises:
            OSError: The disk is full, or cannot be written.
        """
        if "id.offsets.npy" not in self._arrays:
            self.append([], {}, {})
        self._files.close()
        ids = _binary(*(_read(self._folder / f"id.{part}.npy") for part in (_OFFSETS, "bytes")))
        index = IdIndex.build(HashedIds(ids, np.concatenate(self._hashes)))
        for part in ("hashes", "rows", "directory"):
            name = f"index.{part}.npy"
            with GrowingArray(self._folder / name, getattr(index, part)) as array:
                array.append(getattr(index, part))
            self._arrays[name] = array
        files = {name: _file(self._folder / name) for name in self._arrays}
        header = Header(FORMAT, len(ids), files, dict(note))
        (self._folder / HEADER).write_bytes(msgspec.json.encode(header))

    def _append_lists(self, name: str, lists: Lists, values: str) -> None:
        start = self._ends.get(name, 0)
        ends = lists.offsets + start
        self._array(f"{name}.{_OFFSETS}.npy", ends).append(ends[1:] if name in self._ends else ends)
        self._array(f"{name}.{values}.npy", lists.values).append(lists.values)
        self._ends[name] = int(ends[-1])

    def _array(self, name: str, like: npt.NDArray[Any]) -> GrowingArray:
        if name not in self._arrays:
            self._arrays[name] = self._files.enter_context(GrowingArray(self._folder / name, like))
        return self._arrays[name]


_FIX = "remove it: it is built anew"


def _mapped(path: Path, expected: File) -> npt.NDArray[Any]:
    if (found := _file(path)) != expected:
        raise DamagedTable(f"'{path}' was altered: it must be {expected}, is {found}; {_FIX}")
    return _read(path)


def _read(path: Path) -> npt.NDArray[Any]:
    return np.asarray(np.load(path, mmap_mode="r"))


def _file(path: Path) -> File:
    with path.open("rb") as file:
        return File(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _binary(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.uint8]) -> pa.LargeBinaryArray:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _names(files: Mapping[str, Any], prefix: str, suffix: str) -> list[str]:
    found = [name for name in files if name.startswith(prefix) and name.endswith(suffix)]
    return [name[len(prefix) : -len(suffix)] for name in found]
