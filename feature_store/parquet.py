"""Parquet files as the source of a view: found, checked against each other, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store.arrow import key_text, plain, unix_seconds
from feature_store.errors import InvalidInput
from feature_store.view import ViewSchema

_BATCH_ROWS = 16_384


class Batch(NamedTuple):
    """Some rows in plain types.

    Attributes:
        keys: Entity ids as text; never null or empty.
        event_times: Unix seconds; None when no event-time column was named.
        columns: Values by column, in the order of the view.
    """

    keys: pa.Array
    event_times: npt.NDArray[np.float64] | None
    columns: dict[str, pa.Array]


class ParquetSource:
    """Rows of one view in Parquet files that have the same columns.

    Making one reads every file's footer: a missing column, a type no view can hold, or files that disagree show then.

    Args:
        paths: Files, or folders whose `*.parquet` files are taken, subfolders too, in the order of their names. Hidden
            files and those that begin with `_` are passed over, as is usual.
        view: Name of the view.
        key: Column of the entity ids.
        event_time: Column that tells when a row was true; None: rows have no event time.
        columns: Feature columns to take; None takes all but the key. The event time is one of them.

    Raises:
        InvalidInput: Names the file, the column and the fix.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        view: str,
        key: str,
        event_time: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> None:
        self.files = tuple(file for path in paths for file in _files(path))
        if not self.files:
            raise InvalidInput("no Parquet file was named; give files, or folders that hold *.parquet")
        self.key = key
        self.event_time = event_time
        self.num_rows = 0
        schemas = []
        for file in self.files:
            with _opened(file) as parquet:
                self.num_rows += parquet.metadata.num_rows
                try:
                    schemas.append(self._view_schema(view, parquet.schema_arrow, columns))
                except InvalidInput as exc:
                    raise InvalidInput(f"file '{file}': {exc}") from exc
        self.schema = schemas[0]
        for file, schema in zip(self.files, schemas, strict=True):
            if set(schema.columns) != set(self.schema.columns):
                raise InvalidInput(
                    f"file '{file}' must have the columns of '{self.files[0]}', differs in: "
                    f"{self.schema.difference(schema)}; write all files alike, or choose common ones with --columns"
                )
        if not self.num_rows:
            raise InvalidInput(f"no rows in '{self.files[0]}'{_more(self.files)}; check the job that wrote them")

    def batches(self) -> Iterator[Batch]:
        """All rows in order of the files, a bounded number at a time.

        Raises:
            InvalidInput: A page cannot be read, a key is null or empty, a number infinite, an event time null.
        """
        names = list(dict.fromkeys([self.key, *([self.event_time] if self.event_time else []), *self.schema.names]))
        for file in self.files:
            first_row = 0
            with _opened(file) as parquet:
                for batch in parquet.iter_batches(_BATCH_ROWS, columns=names):
                    try:
                        yield self._plain(batch)
                    except InvalidInput as exc:
                        rows = f"rows {first_row} to {first_row + batch.num_rows - 1}"
                        raise InvalidInput(f"file '{file}', {rows}: {exc}") from exc
                    first_row += batch.num_rows

    def _view_schema(self, view: str, schema: pa.Schema, columns: Sequence[str] | None) -> ViewSchema:
        found = ViewSchema.from_arrow(view, schema, self.key, columns)
        key_text(self.key, pa.array([], schema.field(self.key).type))
        if self.event_time is not None:
            if self.event_time not in schema.names:
                raise InvalidInput(
                    f"event-time column '{self.event_time}' is missing; there are {sorted(schema.names)}; "
                    "correct the name"
                )
            unix_seconds(self.event_time, pa.array([], schema.field(self.event_time).type))
        return found

    def _plain(self, batch: pa.RecordBatch) -> Batch:
        keys = key_text(self.key, batch.column(self.key))
        bad = pc.or_kleene(pc.is_null(keys), pc.equal(keys, ""))
        if (at := pc.index(bad, True).as_py()) >= 0:
            raise InvalidInput(
                f"key column '{self.key}' must not be null or empty, got {keys[at].as_py()!r} in row {at} of these; "
                "drop such rows"
            )
        times = unix_seconds(self.event_time, batch.column(self.event_time)) if self.event_time else None
        return Batch(keys, times, {name: plain(name, batch.column(name)) for name in self.schema.names})


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InvalidInput(f"'{path}' does not exist; correct the path")
    if path.is_file():
        return [path]
    found = sorted(
        file
        for file in path.rglob("*.parquet")
        if file.is_file() and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    )
    if not found:
        raise InvalidInput(f"folder '{path}' holds no *.parquet file; correct the path")
    return found


@contextmanager
def _opened(file: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(file) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as exc:
        raise InvalidInput(f"file '{file}' is not a readable Parquet file: {exc}; write it again") from exc


def _more(files: Sequence[Path]) -> str:
    return f" and {len(files) - 1} other files" if len(files) > 1 else ""
