"""Building an item table: every item, encoded for one model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from feature_store import ItemTableWriter
from ranker.atomic import atomic_folder
from serving.errors import readable
from serving.items.encoder import ItemEncoder
from serving.items.snapshot import CURSOR, FAULTS
from serving.items.source import ItemReader, ItemSource

_MAX_FAULTS = 1_000


class BuildError(Exception):
    """No table can be built."""


def build_table(
    source: ItemSource,
    encoder: ItemEncoder,
    target: Path,
    *,
    max_age_seconds: float | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the table of all items, in chunks of bounded memory; it appears whole or not at all.

    Args:
        source: Of the items.
        encoder: Of the model.
        target: Folder of the table; must not exist.
        max_age_seconds: Rows with an older event time, or none, count as missing; `None` takes any.
        on_progress: Told, after every chunk, how many rows are written.

    Raises:
        StoreError: The items cannot be read.
        OSError: The disk is full, or cannot be written.
        BuildError: The model cannot read what the items have.
    """

    async def build() -> None:
        async with source.open() as reader:
            with atomic_folder(target) as folder, ItemTableWriter(folder) as writer:
                await _write(reader, encoder, writer, max_age_seconds, on_progress)

    asyncio.run(build())


async def _write(
    reader: ItemReader,
    encoder: ItemEncoder,
    writer: ItemTableWriter,
    max_age_seconds: float | None,
    on_progress: Callable[[int], None],
) -> None:
    _, cursor = await reader.changes(None)  # what is written from here on is told later
    missing = encoder.encode([""], [None]).items  # the first row; no entity has an empty id
    writer.append([""], missing.matrices, missing.lists)
    faults: dict[str, Mapping[str, str]] = {}
    num_rows = 0
    async for ids, rows in reader.chunks(encoder.plan):
        if not ids:
            continue
        items, found = encoder.encode(ids, rows, max_age_seconds)
        faults |= {readable(ids[place]): of_row for place, of_row in found.items()}
        if len(faults) > _MAX_FAULTS:
            raise BuildError(f"the model cannot read more than {_MAX_FAULTS} items, like {next(iter(faults.items()))}")
        writer.append(ids, items.matrices, items.lists)
        num_rows += len(ids)
        on_progress(num_rows)
    writer.finish({CURSOR: cursor, FAULTS: faults})
