"""Which model is live: watches the registry, makes new bundles ready beside the live one, and swaps them in."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from functools import partial

import torch

from ranker.bundle import Bundle
from ranker.errors import RankerError
from ranker.registry import Registry
from serving.background import beside_requests
from serving.engine import Engine
from serving.errors import BundleRefused, NotFound, NotReady
from serving.features import FeatureSource
from serving.items import ItemTables
from serving.memory import release_freed
from serving.metrics import Metrics
from serving.pace import Pace, Rest, no_rest
from serving.schemas import ModelView
from serving.turn import Turn

logger = logging.getLogger(__name__)

# What a bundle can do wrong while it is read, warmed and checked.
LOAD_ERRORS = (RankerError, OSError, RuntimeError, torch.jit.Error)


class Models:
    """The live engine and the way to the next one.

    A bundle that cannot be read, does not reproduce its golden rows, or needs features that the store does not have
    never replaces one that works. A refused bundle is tried again when the registry points elsewhere and back; one
    that only waits for its features goes live as soon as they are there.

    Beside a live model the next one is made ready at leisure, by one worker of the server after the other.

    Args:
        registry: Of bundles.
        features: What the models have to fit.
        items: Of the live model.
        metrics: Counts what happens.
        engine: A bundle that is ready already; `None`: the registry's current one is read.
        make_engine: Makes a bundle ready, and rests between its steps.
        turn: Of this worker.
    """

    def __init__(
        self,
        registry: Registry,
        features: FeatureSource,
        items: ItemTables,
        metrics: Metrics,
        engine: Engine | None,
        make_engine: Callable[[Bundle, Rest], Engine],
        turn: Turn,
    ) -> None:
        self._registry = registry
        self._make_engine = make_engine
        self._turn = turn
        self._features = features
        self._items = items
        self._metrics = metrics
        self._lock = asyncio.Lock()  # one change at a time: the watcher and admins
        self._engine: Engine | None = None
        self._next = engine  # ready, but not seen to fit the store
        self._pointer = engine.version if engine else None  # what the registry said when it was last acted upon
        self._refused: str | None = None  # why the current bundle is not the live one
        self._misfit: str | None = None  # why the store cannot serve the live engine
        self._has_swapped = False  # and so left a model behind, whose memory is to be given back

    @property
    def version(self) -> str | None:
        """Version of the live model, if there is one."""
        return self._engine.version if self._engine else None

    @property
    def problem(self) -> str | None:
        """Why nothing can be ranked; `None` when all is well."""
        if self._engine is None:
            return self._refused or "no model has been loaded yet"
        return self._misfit

    @property
    def warning(self) -> str | None:
        """Why the live model is not the registry's current one; `None` if it is."""
        return self._refused if self._engine else None

    def live(self) -> Engine:
        """The engine to rank with.

        Raises:
            NotReady: There is none, or the feature store does not fit it.
        """
        if self._engine is None or self._misfit is not None:
            raise NotReady(f"no ranking now: {self.problem}")
        return self._engine

    async def refresh(self) -> None:
        """Take over what the registry points to, if that changed, and look whether the store still fits."""
        async with self._lock:
            if self._has_swapped:
                self._has_swapped = False
                await beside_requests(release_freed)
            try:
                pointer = await asyncio.to_thread(self._registry.current)
            except RankerError as exc:
                self._pointer = None  # whatever it says next is news
                self._refuse(None, str(exc))
            else:
                if pointer != self._pointer:
                    await self._prepare(pointer)
            await self._fit()

    async def refresh_items(self) -> None:
        """Bring the live model's items up to date."""
        if self._engine is not None:
            await self._items.refresh(self._engine.item_side, self._engine.path)

    async def activate(self, version: str) -> None:
        """Make a published version current in the registry, and live in this server.

        Raises:
            NotFound: No such version.
            BundleRefused: It cannot be served; nothing changes.
        """
        async with self._lock:
            try:
                await asyncio.to_thread(self._registry.path, version)
            except RankerError as exc:
                raise NotFound(str(exc)) from exc
            try:
                engine = await self._made_ready(version)
                if misfit := await self._features.problem(engine.plan):
                    raise BundleRefused(f"version '{version}' cannot be served: {misfit}")
                await asyncio.to_thread(partial(self._registry.activate, version, verified=True))
            except LOAD_ERRORS as exc:
                raise BundleRefused(f"version '{version}' cannot be served: {exc}") from exc
            self._pointer, self._next = version, engine
            await self._fit()

    async def views(self) -> list[ModelView]:
        """All published versions, oldest first."""
        try:
            infos = await asyncio.to_thread(self._registry.versions)
        except (RankerError, OSError) as exc:
            raise NotReady(f"the registry cannot be read: {exc}") from exc
        return [
            ModelView(
                version=info.version,
                created_at=info.created_at,
                current=info.is_current,
                live=info.version == self.version,
                problem=info.problem,
            )
            for info in infos
        ]

    async def _prepare(self, pointer: str) -> None:
        """Load, warm and verify the bundle that the registry points to, beside the live one."""
        self._pointer, self._next = pointer, None
        if pointer == self.version:
            self._refused = None
            return
        try:
            self._next = await self._made_ready(pointer)
        except LOAD_ERRORS as exc:
            self._refuse(pointer, str(exc))

    async def _made_ready(self, version: str) -> Engine:
        """A published bundle, loaded, warmed and verified."""
        if self._engine is None:  # nothing is slowed down, and everything waits
            return await beside_requests(partial(self._load, version, no_rest))
        async with self._turn.taken():
            start, who = time.monotonic(), {"version": version, "pid": os.getpid()}
            logger.info("making a model ready", extra=who)
            engine = await beside_requests(partial(self._load, version, Pace().rest))
            logger.info("model is ready", extra=who | {"seconds": round(time.monotonic() - start, 3)})
            return engine

    def _load(self, version: str, rest: Rest) -> Engine:
        bundle = self._registry.load(version)
        rest()
        return self._make_engine(bundle, rest)

    async def _fit(self) -> None:
        """Swap the next engine in if the store has what it needs, or if there is nothing to lose."""
        if self._next is not None:
            misfit = await self._features.problem(self._next.plan)
            if misfit is None or self._engine is None:
                if self._engine is None:  # with nothing to serve meanwhile, a table that has to be built comes later
                    await self._items.refresh(self._next.item_side, self._next.path)
                else:
                    await self._items.prepare(self._next.item_side, self._next.path, self._engine.item_side)
                self._has_swapped = self._engine is not None
                self._engine, self._next, self._refused = self._next, None, None
                self._metrics.model_live(self._engine.version)
                logger.info("model is live", extra={"version": self._engine.version})
            else:
                self._refuse(self._next.version, misfit)
        if self._engine is not None:
            misfit = await self._features.problem(self._engine.plan)
            if misfit != self._misfit:
                logger.log(logging.ERROR if misfit else logging.INFO, "feature store", extra={"misfit": misfit})
            self._misfit = misfit

    def _refuse(self, version: str | None, reason: str) -> None:
        """Keep what is live and say why; told once per reason, not at every look."""
        refused = reason if version is None else f"version '{version}' was refused: {reason}"
        if refused != self._refused:
            self._refused = refused
            self._metrics.reload_failures.inc()
            logger.error("bundle refused", extra={"version": version, "reason": reason, "live": self.version})
