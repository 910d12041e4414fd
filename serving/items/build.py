"""Building an item table: every item, encoded for one model."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_store import ItemTableWriter
from ranker.atomic import atomic_folder
from serving.errors import readable
from serving.items.encoder import ItemEncoder
from serving.items.snapshot import CURSOR, FAULTS
from serving.items.source import ItemReader, ItemSource

_MAX_FAULTS = 1_000
_SWITCH_SECONDS = 0.0005


class BuildError(Exception):
    """No table can be built, or nobody needs it any more."""


def build_table(
    source: ItemSource,
    encoder: ItemEncoder,
    target: Path,
    *,
    max_age_seconds: float | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Write the table of all items, in chunks of bounded memory; it appears whole or not at all. Runs in a thread.

    Args:
        source: Of the items.
        encoder: Of the model.
        target: Folder of the table; must not exist.
        max_age_seconds: Rows with an older event time, or none, count as missing; `None` takes any.
        stop: Set when the table is not needed any more.

    Raises:
        StoreError: The items cannot be read.
        OSError: The disk is full, or cannot be written.
        BuildError: It was stopped, or the model cannot read what the items have.
    """

    async def build() -> None:
        async with source.open() as reader:
            with atomic_folder(target) as folder, ItemTableWriter(folder) as writer:
                await _write(reader, encoder, writer, max_age_seconds, stop or threading.Event())

    with _yielding_often():
        asyncio.run(build())


@contextmanager
def _yielding_often() -> Iterator[None]:
    """Let requests have the interpreter soon when they want it: by default a busy thread keeps it for 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


async def _write(
    reader: ItemReader,
    encoder: ItemEncoder,
    writer: ItemTableWriter,
    max_age_seconds: float | None,
    stop: threading.Event,
) -> None:
    _, cursor = await reader.changes(None)  # what is written from here on is told later
    missing = encoder.encode([""], [None]).items  # the first row; no entity has an empty id
    writer.append([""], missing.matrices, missing.lists)
    faults: dict[str, str] = {}
    async for ids, rows in reader.chunks(encoder.plan):
        if stop.is_set():
            raise BuildError("the server stops")
        if not ids:
            continue
        items, found = encoder.encode(ids, rows, max_age_seconds)
        faults |= {readable(ids[place]): readable(fault) for place, fault in found.items()}
        if len(faults) > _MAX_FAULTS:
            raise BuildError(f"the model cannot read more than {_MAX_FAULTS} items, like {next(iter(faults.items()))}")
        writer.append(ids, items.matrices, items.lists)
    writer.finish({CURSOR: cursor, FAULTS: faults})
