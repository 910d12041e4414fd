"""The application: its parts put together, and what runs beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib import metadata

import torch
from fastapi import FastAPI

from ranker.registry import Registry
from serving import errors
from serving.admin import PolicyAdmin
from serving.body_limit import BodyLimit
from serving.deps import Server
from serving.features import FeatureSource
from serving.models import Models
from serving.openapi import document
from serving.policies import PolicyCache
from serving.ranking import Ranker
from serving.request_log import RequestLog
from serving.routes import ROUTERS
from serving.settings import Settings
from serving.telemetry import Metrics, Telemetry

logger = logging.getLogger(__name__)

_DESCRIPTION = (
    "Ranks candidates for a user by a multi-task model whose outputs are fused with weights that change live. "
    "Errors are `application/problem+json` (RFC 9457)."
)


def create_app(settings: Settings) -> FastAPI:
    """The server as an ASGI application.

    It starts whatever state its surroundings are in: without a model, or with a store that does not fit, `/readyz` and
    `/rank` answer 503 and say what to do; once that is done it serves, without a restart.

    Raises:
        OSError: The folder of the request log cannot be made.
    """
    metrics = Metrics()
    log = RequestLog(settings.request_log, metrics)
    app = FastAPI(
        title="Ranking service",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=_lifespan(settings, metrics, log),
    )
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.limits.max_body_bytes)
    app.add_middleware(Telemetry, metrics=metrics, access_log=settings.access_log)
    app.openapi = document(app)  # type: ignore[method-assign]  # the way that FastAPI documents
    return app


def _lifespan(
    settings: Settings, metrics: Metrics, log: RequestLog
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        torch.set_num_threads(1)  # one thread per process: more collapse as soon as the machine is busy
        async with AsyncExitStack() as stack:
            thread = stack.enter_context(ThreadPoolExecutor(max_workers=1, thread_name_prefix="score"))
            store = settings.store.build()
            stack.push_async_callback(store.close)
            policy_store = settings.policies.build()
            stack.push_async_callback(policy_store.close)
            features = FeatureSource(store, settings.limits.store_timeout_seconds)
            models = Models(Registry(settings.registry), features, metrics)
            policies = PolicyCache(policy_store)
            ranker = Ranker(models, features, policies, log, metrics, settings.limits, thread)
            app.state.server = Server(
                settings, metrics, features, models, policies, log, ranker, PolicyAdmin(models, policies)
            )
            stack.callback(log.flush)
            await policies.refresh()
            await models.refresh()
            async with _repeating(
                (settings.poll_seconds, models.refresh),
                (settings.policy_poll_seconds, policies.refresh),
                (settings.request_log.flush_seconds, lambda: asyncio.to_thread(log.flush)),
            ):
                yield

    return lifespan


@asynccontextmanager
async def _repeating(*jobs: tuple[float, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run each job again and again while the block lasts."""
    tasks = [asyncio.create_task(_repeat(seconds, job)) for seconds, job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
