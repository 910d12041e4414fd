"""A NumPy file that is written row by row: how many there will be need not be known."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy


class GrowingArray:
    """Writes a `.npy` file. It can be read once the block has ended.

    Args:
        path: The file; made, or begun anew.
        like: An array with the type and the shape of the rows to come.
    """

    def __init__(self, path: Path, like: npt.NDArray[Any]) -> None:
        self._dtype = like.dtype
        self._row_shape = like.shape[1:]
        self._num_rows = 0
        self._file = path.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        """The writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Say in the header how many rows there are, unless something went wrong."""
        with self._file:
            if error is None:
                self._file.seek(0)
                self._write_header()

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write rows behind those that are there.

        Raises:
            ValueError: They are of another type or shape.
            OSError: The disk is full.
        """
        if rows.dtype != self._dtype or rows.shape[1:] != self._row_shape:
            raise ValueError(
                f"rows of '{self._file.name}' must be {self._dtype} {self._row_shape}, "
                f"got {rows.dtype} {rows.shape[1:]}"
            )
        self._file.write(np.ascontiguousarray(rows).data)
        self._num_rows += len(rows)

    def _write_header(self) -> None:
        # NumPy leaves room in a header for as long a number of rows as there can be, so its length never changes.
        header = {
            "descr": npy.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._num_rows, *self._row_shape),
        }
        npy.write_array_header_1_0(self._file, header)
