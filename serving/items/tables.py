"""Item tables of a running server: mapped or built for each model, and kept up to date with the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Self, TypeVar

from pydantic import Field, model_validator

from feature_store import CursorExpired, DamagedTable, ItemTable, StoreError
from ranker.frozen_config import FrozenConfig
from serving.items.build import BuildError
from serving.items.builder import Order
from serving.items.builder_process import build_apart
from serving.items.folder import TableFolder
from serving.items.item_side import ItemSide
from serving.items.snapshot import ItemSnapshot
from serving.items.source import ItemReader, ParquetItems, StoreSource
from serving.metrics import Metrics

logger = logging.getLogger(__name__)

_PAGE_IDS = 1_000  # changed items that are read at once
_PAUSE_SECONDS, _LONGEST_PAUSE = 5.0, 300.0  # after a build that failed, and after many in a row
_BUILD_ERRORS = (BuildError, OSError)
T = TypeVar("T")


class ItemTables:
    """Gives each model its items, and looks for changes.

    A table is built by a process of its own; of all workers of a server one starts it, the others wait for its table,
    and each maps it. While a table is built anew the one before serves on; where there is none yet, requests read rows
    of the store. What becomes of a builder changes nothing of that.

    Args:
        config: Options.
        root: Folder of built tables.
        source: What tables are built of.
        reader: Of that source, for this event loop.
        metrics: Counts what happens.
        timeout_seconds: A slower answer of the source counts as none.
        max_age_seconds: Rows with an older event time, or none, count as missing; `None` takes any.
    """

    class Config(FrozenConfig):
        """Options of `ItemTables`."""

        enabled: bool = Field(True, description="Keep all items encoded; false: each request reads rows of the store.")
        path: Path | None = Field(None, description="Folder of built tables; null: `item_tables` beside the registry.")
        parquet: Path | None = Field(
            None, description="File, or folder, of all items with their features, in place of the store's item view."
        )
        parquet_event_time: str | None = Field(None, description="Column of it that tells when a row was true.")
        poll_seconds: float = Field(0.25, gt=0, description="How soon a changed item is seen.")
        stale_seconds: float = Field(
            10.0, gt=0, description="Answers say item_features_stale when the store could not tell changes for so long."
        )
        max_changed: int = Field(
            20_000,
            ge=1,
            description="Changed items that are kept in memory; when there are more, the table is renewed.",
        )
        build_stall_seconds: float = Field(
            120.0, gt=0, description="A process that builds a table is ended when it gets no further for so long."
        )

        @model_validator(mode="after")
        def _check(self) -> Self:
            if self.parquet is not None and not self.enabled:
                raise ValueError("`parquet` needs `enabled`: items in files are ranked from a table only; drop one")
            return self

    def __init__(
        self,
        config: Config,
        root: Path,
        source: StoreSource | ParquetItems,
        reader: ItemReader,
        metrics: Metrics,
        timeout_seconds: float,
        max_age_seconds: float | None = None,
    ) -> None:
        self._config = config
        self._root = root
        self._source = source
        self._reader = reader
        self._metrics = metrics
        self._timeout_seconds = timeout_seconds
        self._max_age_seconds = max_age_seconds
        self._unfit: set[str] = set()  # tables that are damaged, or too old for the store to tell what changed since
        self._task: asyncio.Task[None] | None = None
        self._pause_seconds = 0.0
        self._not_before = 0.0

    async def prepare(self, side: ItemSide, bundle: Path, live: ItemSide) -> None:
        """Give a model that is about to go live its items, if the store has them and can be read.

        Args:
            side: Of the model.
            bundle: Folder that the model was read from.
            live: Of the model before it, whose items it takes over if it reads them in the same way.
        """
        if not self._concerns(side) or side.snapshot is not None:
            return
        if live.snapshot is not None and live.encoder.fingerprint == side.encoder.fingerprint:
            side.snapshot = live.snapshot
        elif not await self._adopted(side):
            await self._renew(side, bundle)

    async def refresh(self, side: ItemSide, bundle: Path) -> None:
        """Bring the items of the live model up to date; a table that has to be built comes with a later call.

        Args:
            side: Of the model.
            bundle: Folder that the model was read from.
        """
        if not self._concerns(side):
            return
        snapshot = side.snapshot
        if snapshot is None:
            if not await self._adopted(side):
                self._start(side, bundle)
            return
        try:
            newer = await self._followed(side, snapshot)
        except CursorExpired:
            self._unfit.add(snapshot.name)
            if not await self._adopted(side):
                self._start(side, bundle)
        except (StoreError, TimeoutError) as exc:  # answers say so once it has lasted
            logger.debug("changes of items cannot be read", extra={"reason": str(exc)})
        else:
            if side.snapshot is snapshot:  # and not renewed meanwhile
                side.snapshot = newer
            if newer.changed is not None and len(newer.changed) > self._config.max_changed:
                self._start(side, bundle, newer.name)

    async def close(self) -> None:
        """Let go of a table that is being built."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _concerns(self, side: ItemSide) -> bool:
        return self._config.enabled and side.encoder.fits_a_table

    def _start(self, side: ItemSide, bundle: Path, worn: str = "") -> None:
        """Renew the table in the background, unless that is going on, or went wrong just now."""
        if self._task is not None and self._task.done():
            done, self._task = self._task, None
            done.result()  # what nobody foresaw is told to whoever calls
        if self._task is None and time.monotonic() >= self._not_before:
            self._task = asyncio.create_task(self._renew(side, bundle, worn))

    async def _renew(self, side: ItemSide, bundle: Path, worn: str = "") -> None:
        """Have a table built, unless there is one that is newer than a worn one, and take it."""
        folder = self._folder(side)
        try:
            async with folder.locked():
                if (folder.newest(self._unfit) or "") <= worn:
                    await self._build(side, bundle, folder)
        except _BUILD_ERRORS as exc:
            self._failed(str(exc))
        else:
            self._pause_seconds = 0.0
            await self._adopted(side)

    def _failed(self, reason: str) -> None:
        """No table was built: leave it for a while, longer each time in a row."""
        self._pause_seconds = min(2 * self._pause_seconds or _PAUSE_SECONDS, _LONGEST_PAUSE)
        self._not_before = time.monotonic() + self._pause_seconds
        self._metrics.item_table_failures.inc()
        logger.error("item table was not built", extra={"reason": reason, "again_in_seconds": self._pause_seconds})

    async def _build(self, side: ItemSide, bundle: Path, folder: TableFolder) -> None:
        name, start = folder.new(), time.monotonic()
        order = Order(
            bundle=bundle,
            fingerprint=side.encoder.fingerprint,
            source=self._source,
            target=folder.path(name),
            max_age_seconds=self._max_age_seconds,
        )
        await build_apart(order, self._config.build_stall_seconds)
        await asyncio.to_thread(folder.prune, name)
        self._metrics.item_tables.inc()
        logger.info("item table built", extra={"seconds": round(time.monotonic() - start, 3), "table": name})

    async def _adopted(self, side: ItemSide) -> bool:
        """Take the newest table, as far as the store can tell what changed since; whether there is one.

        A store that is away tells nothing: what is known then serves, as out of date.
        """
        folder = self._folder(side)
        while (name := folder.newest(self._unfit)) is not None:
            try:
                table = await asyncio.to_thread(ItemTable.open, folder.path(name))
                opened = ItemSnapshot.of_table(table, name)
                side.snapshot = await self._followed(side, opened)
            except (CursorExpired, DamagedTable) as exc:
                self._unfit.add(name)
                logger.info("item table cannot be used", extra={"table": name, "reason": str(exc)})
            except (StoreError, TimeoutError):
                side.snapshot = opened
                return True
            else:
                self._unfit = {other for other in self._unfit if other > name}  # older ones are not looked at
                return True
        return False

    async def _followed(self, side: ItemSide, snapshot: ItemSnapshot) -> ItemSnapshot:
        """The same with all that changed meanwhile.

        Raises:
            CursorExpired: The store cannot tell.
            StoreError: It cannot be read now.
            TimeoutError: It does not answer.
        """
        while True:
            changed, cursor = await self._asked(self._reader.changes(snapshot.cursor))
            if not changed:
                fresh_until = time.monotonic() + self._config.stale_seconds
                return snapshot._replace(cursor=cursor, fresh_until=fresh_until)
            ids = list(dict.fromkeys(changed))
            for start in range(0, len(ids), _PAGE_IDS):
                page = ids[start : start + _PAGE_IDS]
                rows = await self._asked(self._reader.rows(page))
                encoded = await asyncio.to_thread(side.encoder.encode, page, rows, self._max_age_seconds)
                snapshot = await asyncio.to_thread(snapshot.with_changes, page, encoded)
            self._metrics.item_changes.inc(len(ids))
            snapshot = snapshot._replace(cursor=cursor)

    async def _asked(self, question: Awaitable[T]) -> T:
        async with asyncio.timeout(self._timeout_seconds):
            return await question

    def _folder(self, side: ItemSide) -> TableFolder:
        age = "" if self._max_age_seconds is None else f"-{self._max_age_seconds:g}"
        return TableFolder(self._root, f"{side.encoder.fingerprint}-{self._source.key}{age}")
