"""Parquet into a store: everything is read and checked once, then the latest row of each entity is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_store.base import FeatureStore
from feature_store.packing import Row
from feature_store.parquet import Batch, ParquetSource
from feature_store.view import ViewSchema

_COMPACT_ROWS = 1_000_000


class Progress(NamedTuple):
    """How far a materialization has come: rows of the Parquet files dealt with, in each of the two passes."""

    phase: Literal["checking", "writing"]
    num_rows: int
    total_rows: int


class Materialized(NamedTuple):
    """What a materialization did: rows read, entities written (one row each), and the view's schema."""

    schema: ViewSchema
    num_rows_read: int
    num_rows_written: int


async def materialize(
    store: FeatureStore,
    view: str,
    paths: Sequence[Path],
    *,
    key: str,
    event_time: str | None = None,
    columns: Sequence[str] | None = None,
    replace_schema: bool = False,
    ttl_seconds: float | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Materialized:
    """Fill a view from Parquet files. Entities that the files do not name keep their rows.

    The files are read twice: first to check every value and to find each entity's latest row, then to write. Bad input
    so leaves the store untouched. Memory holds one batch of rows, and one key, time and row number per entity.

    Args:
        store: Where to.
        view: Name of the view; made if it is not there.
        paths: Parquet files, or folders of them.
        key: Column of the entity ids: strings or integers.
        event_time: Column that decides which of an entity's rows is the latest; of equal ones, or without the column,
            the last in the order of files and rows.
        columns: Feature columns to take; None takes all but the key.
        replace_schema: Let these columns take the place of other ones that the view has now.
        ttl_seconds: Time after which the rows are missing; None: they stay.
        on_progress: Called after each batch, at times from another thread.

    Raises:
        InvalidInput: A file cannot be read or does not fit; names file, column, value and fix. Nothing is written.
        SchemaMismatch: The view has other columns and `replace_schema` is False. Nothing is written.
        StoreUnavailable: The store cannot be written now. Written rows stay; running it again is safe.
    """
    source = await asyncio.to_thread(ParquetSource, paths, view, key, event_time, columns)
    report = on_progress or _silent
    wanted = await asyncio.to_thread(latest_rows, source, report)
    await store.create_view(source.schema, replace=replace_schema)
    batches, position, num_written = source.batches(), 0, 0
    while batch := await asyncio.to_thread(next, batches, None):
        chosen = wanted[position : position + len(batch.keys)]
        num_written += await store.put_many(view, chosen_rows(batch, chosen), ttl_seconds=ttl_seconds)
        position += len(batch.keys)
        report(Progress("writing", position, source.num_rows))
    return Materialized(source.schema, position, num_written)


def _silent(progress: Progress) -> None:
    pass


def latest_rows(source: ParquetSource, report: Callable[[Progress], None] = _silent) -> npt.NDArray[np.bool_]:
    """Which rows of the source to write: True at the latest of each entity. Reads, and so checks, every value.

    Raises:
        InvalidInput: A value does not fit.
    """
    found: list[pa.Table] = []
    position = num_pending = 0
    for batch in source.batches():
        rows = np.arange(position, position + len(batch.keys))
        times = np.zeros(len(rows)) if batch.event_times is None else batch.event_times
        found.append(pa.table({"key": batch.keys, "time": times, "row": rows}))
        position += len(rows)
        num_pending += len(rows)
        if num_pending > _COMPACT_ROWS + found[0].num_rows:  # so each row is sorted a few times at most
            found, num_pending = [_latest(found)], 0
        report(Progress("checking", position, source.num_rows))
    latest = np.zeros(position, dtype=bool)
    latest[_latest(found)["row"].to_numpy()] = True
    return latest


def _latest(found: Sequence[pa.Table]) -> pa.Table:
    ordered = pa.concat_tables(found).sort_by([("time", "ascending"), ("row", "ascending")])
    grouped = ordered.group_by("key", use_threads=False).aggregate([("time", "last"), ("row", "last")])
    return grouped.rename_columns({"time_last": "time", "row_last": "row"})


def chosen_rows(batch: Batch, chosen: npt.NDArray[np.bool_]) -> Iterator[Row]:
    """The rows of a batch where `chosen` is True."""
    mask = pa.array(chosen)
    names = tuple(batch.columns)
    values = zip(*(column.filter(mask).to_pylist() for column in batch.columns.values()), strict=True)
    times = [None] * int(chosen.sum()) if batch.event_times is None else batch.event_times[chosen].tolist()
    for entity_id, row, time in zip(batch.keys.filter(mask).to_pylist(), values, times, strict=True):
        yield entity_id, dict(zip(names, row, strict=True)), time
