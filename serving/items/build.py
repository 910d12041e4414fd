"""Building an item table: every row of the store's view, encoded for one model."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from typing import NamedTuple

from feature_store import EmbeddedStore, FeatureStore, StoreConfig
from feature_store.item_table import ItemTableWriter
from ranker.atomic import atomic_folder
from serving.items.encoder import ItemEncoder
from serving.items.snapshot import CURSOR, FAULTS

_CHUNK_ROWS = 2_000  # encoded at once: some milliseconds
_MAX_FAULTS = 1_000


class BuildError(Exception):
    """No table can be built, or nobody needs it any more."""


class ItemSource(NamedTuple):
    """Where items come from.

    Attributes:
        store: The feature store.
        max_age_seconds: Rows with an older event time, or none, count as missing; `None` takes any.
        view: Of the store.
    """

    store: StoreConfig
    max_age_seconds: float | None = None
    view: str = "item"

    @property
    def key(self) -> str:
        """Sixteen hex digits that tell sources apart."""
        store = self.store
        place = str(store.path.resolve()) if isinstance(store, EmbeddedStore.Config) else store.model_dump_json()
        return hashlib.sha256(f"{place} {self.view} {self.max_age_seconds}".encode()).hexdigest()[:16]


def build_table(source: ItemSource, encoder: ItemEncoder, target: Path, stop: threading.Event) -> None:
    """Write the table of a view, in chunks of bounded memory; it appears whole or not at all. Runs in a thread.

    Args:
        source: What to read. The store is opened anew, since an open one belongs to an event loop.
        encoder: Of the model.
        target: Folder of the table; must not exist.
        stop: Set when the table is not needed any more.

    Raises:
        StoreError: The store cannot be read.
        OSError: The disk is full, or cannot be written.
        BuildError: It was stopped, or the model cannot read what the store has.
    """

    async def build() -> None:
        async with source.store.build() as store:
            with atomic_folder(target) as folder, ItemTableWriter(folder) as writer:
                await _write(store, source, encoder, writer, stop)

    asyncio.run(build())


async def _write(
    store: FeatureStore, source: ItemSource, encoder: ItemEncoder, writer: ItemTableWriter, stop: threading.Event
) -> None:
    _, cursor = await store.changes(source.view, None)  # what is written from here on is told later
    missing = encoder.encode([""], [None]).items  # the first row; no entity has an empty id
    writer.append([""], missing.matrices, missing.lists)
    faults: dict[str, str] = {}
    async for chunk in store.scan_rows(source.view, chunk_rows=_CHUNK_ROWS):
        if stop.is_set():
            raise BuildError("the server stops")
        if not chunk:
            continue
        ids, rows = [entity_id for entity_id, _ in chunk], [row for _, row in chunk]
        items, found = encoder.encode(ids, rows, source.max_age_seconds)
        faults |= {ids[place]: fault for place, fault in found.items()}
        if len(faults) > _MAX_FAULTS:
            raise BuildError(f"the model cannot read more than {_MAX_FAULTS} items, like {next(iter(faults.items()))}")
        writer.append(ids, items.matrices, items.lists)
    writer.finish({CURSOR: cursor, FAULTS: faults})
