"""The application: its parts put together, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import metadata
from typing import NamedTuple

import torch
from fastapi import FastAPI

from feature_store import FeatureStore
from ranker.registry import Registry
from serving import errors
from serving.admin import PolicyAdmin
from serving.admission import Admission, Door
from serving.balance import Balance
from serving.body_limit import BodyLimit
from serving.breaker import Breaker
from serving.deps import Server
from serving.drain import Drain
from serving.engine import Engine
from serving.fallback import Fallback
from serving.features import ITEM_VIEW, USER_VIEW, FeatureSource
from serving.items import ItemTables, ParquetItems, StoreItems, StoreSource
from serving.known_users import KnownUsers
from serving.metrics import Metrics, SharedFolder
from serving.models import Models
from serving.openapi import document
from serving.policies import PolicyCache
from serving.queue import Queue
from serving.ranking import Ranker
from serving.request_log import RequestLog
from serving.routes import ROUTERS, RankRoute
from serving.scoring_thread import ScoringThread
from serving.settings import Settings
from serving.telemetry import Telemetry
from serving.tracing import Tracing
from serving.turn import Turn

logger = logging.getLogger(__name__)

_MEMORY_SECONDS = 10.0
_CANCEL_SECONDS = 0.5
_DESCRIPTION = (
    "Ranks candidates for a user by a multi-task model whose outputs are fused with weights that change live. "
    "Errors are `application/problem+json` (RFC 9457)."
)


def create_app(settings: Settings, engine: Engine | None = None, shared: SharedFolder | None = None) -> FastAPI:
    """The server as an ASGI application.

    It starts whatever state its surroundings are in: without a model, or with a store that does not fit, `/readyz` and
    `/rank` answer 503 and say what to do; once that is done it serves, without a restart.

    Args:
        settings: What an operator has set.
        engine: A bundle that is ready already, as workers inherit it; `None`: the registry's current one is read.
        shared: Where the workers of one server keep their figures; `None` if there is only this process.

    Raises:
        OSError: The folder of the request log cannot be made.
    """
    metrics = Metrics(_version(), shared)
    drain, queue = Drain(), Queue(settings.limits.max_waiting)
    door = Door(queue, metrics, settings.limits.timeout_ms)
    log = RequestLog(settings.request_log, metrics)
    tracing = settings.tracing.build()
    turn = Turn(shared.turn if shared else None)
    app = FastAPI(
        title="Ranking service",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=partial(_lifespan, _Given(settings, engine, turn, metrics, drain, queue, log, tracing)),
    )
    app.router.routes.insert(0, RankRoute())
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    limits = settings.limits
    app.add_middleware(BodyLimit, max_bytes=limits.max_body_bytes, timeout_seconds=limits.body_timeout_seconds)
    app.add_middleware(Admission, door=door)
    balance = Balance(queue, alone=shared is None)
    app.add_middleware(
        Telemetry, metrics=metrics, drain=drain, balance=balance, access_log=settings.access_log, tracing=tracing
    )
    app.openapi = document(app)  # type: ignore[method-assign]  # the way that FastAPI documents
    app.state.drain, app.state.door = drain, door
    return app


class _Given(NamedTuple):
    """What is there before the event loop."""

    settings: Settings
    engine: Engine | None
    turn: Turn
    metrics: Metrics
    drain: Drain
    queue: Queue
    log: RequestLog
    tracing: Tracing | None


@asynccontextmanager
async def _lifespan(given: _Given, app: FastAPI) -> AsyncIterator[None]:
    settings, log, metrics = given.settings, given.log, given.metrics
    torch.set_num_threads(1)  # one thread per process: more collapse as soon as the machine is busy
    async with AsyncExitStack() as stack:
        server = app.state.server = _server(given, stack)
        stack.callback(log.flush)
        if given.tracing is not None:
            stack.callback(given.tracing.close)
        await server.policies.refresh()
        await server.models.refresh()
        async with _repeating(
            (settings.poll_seconds, server.models.refresh),
            (settings.item_table.poll_seconds, server.models.refresh_items),
            (settings.policy_poll_seconds, server.policies.refresh),
            (settings.request_log.flush_seconds, lambda: asyncio.to_thread(log.flush)),
            (_MEMORY_SECONDS, lambda: asyncio.to_thread(metrics.memory)),
        ):
            yield


def _server(given: _Given, stack: AsyncExitStack) -> Server:
    """The parts of a server; those that must be closed, by the stack."""
    settings, engine, turn, metrics, drain, queue, log, _ = given
    thread = stack.enter_context(ScoringThread())
    store = settings.store.build()
    stack.push_async_callback(store.close)
    policy_store = settings.policies.build()
    stack.push_async_callback(policy_store.close)
    features = _features(settings, store, metrics)
    fallback = Fallback(settings.fallback, features) if settings.fallback.enabled else None
    items = _items(settings, store, metrics)
    stack.push_async_callback(items.close)
    registry = Registry(settings.registry)
    models = Models(registry, features, items, metrics, engine, settings.make_engine, turn)
    policies = PolicyCache(policy_store)
    ranker = Ranker(models, features, policies, fallback, log, metrics, settings.limits, queue, thread)
    return Server(settings, metrics, drain, features, models, policies, log, ranker, PolicyAdmin(models, policies))


def _features(settings: Settings, store: FeatureStore, metrics: Metrics) -> FeatureSource:
    breaker = Breaker(settings.outage, metrics.store_open.set)
    max_age_seconds = {USER_VIEW: settings.user_max_age_seconds, ITEM_VIEW: settings.item_max_age_seconds}
    known_users = KnownUsers(settings.outage.known_users)
    views = (USER_VIEW,) if settings.item_table.parquet else (USER_VIEW, ITEM_VIEW)
    return FeatureSource(store, settings.limits.store_timeout_seconds, breaker, known_users, max_age_seconds, views)


def _items(settings: Settings, store: FeatureStore, metrics: Metrics) -> ItemTables:
    config = settings.item_table
    root = config.path or settings.registry.parent / "item_tables"
    limits = settings.limits.store_timeout_seconds, settings.item_max_age_seconds
    if config.parquet is not None:
        files = ParquetItems(config.parquet, config.parquet_event_time)
        return ItemTables(config, root, files, files, metrics, *limits)
    return ItemTables(config, root, StoreSource(settings.store), StoreItems(store), metrics, *limits)


@asynccontextmanager
async def _repeating(*jobs: tuple[float, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run each job again and again while the block lasts."""
    tasks = [asyncio.create_task(_repeat(seconds, job)) for seconds, job in jobs]
    try:
        yield
    finally:
        await _ended(tasks)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: `asyncio.wait_for`, which libraries use, may swallow a cancellation."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_SECONDS)


async def _repeat(seconds: float, job: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await job()
        except Exception:  # a watcher that dies in silence is worse than any error it could meet
            logger.exception("a periodic job failed; it will run again")


def _version() -> str:
    try:
        return metadata.version("ranking-service")
    except metadata.PackageNotFoundError:
        return "0"  # run from a checkout that was never installed
