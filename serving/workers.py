"""How many processes serve: this one alone, or several that share what this one has loaded."""

from __future__ import annotations

import gc
import logging
import os
import socket
import tempfile
from pathlib import Path

import torch

from ranker.registry import Registry
from serving.app import create_app
from serving.engine import Engine
from serving.metrics import SharedFolder
from serving.models import LOAD_ERRORS
from serving.server import Server, Stopping
from serving.settings import Settings
from serving.supervisor import Supervisor

logger = logging.getLogger(__name__)

_KILL_SECONDS = 5  # beyond what a worker may take to drain


def serve(settings: Settings, listener: socket.socket, stopping: Stopping, num_workers: int) -> int:
    """Serve until SIGTERM or SIGINT.

    Several workers are forked from this process once the registry's current bundle is loaded, warmed and checked: they
    share its memory as long as they serve it. Each takes over later bundles by itself, into memory of its own.

    Args:
        settings: What an operator has set.
        listener: Bound, and shared by all workers.
        stopping: How they end.
        num_workers: 1 serves from this process itself.

    Returns:
        Exit code.

    Raises:
        OSError: The folder of the request log cannot be made.
    """
    if num_workers == 1:
        Server(create_app(settings), stopping, settings.limits.head_timeout_seconds).run([listener])
        return 0
    if settings.request_log.path is not None:
        settings.request_log.path.mkdir(
            parents=True, exist_ok=True
        )  # said once, and not by each worker again and again
    engine = _loaded(settings)
    with tempfile.TemporaryDirectory(prefix="ranker-metrics-") as folder:

        def work(place: int, lifeline: int) -> int:
            shared = SharedFolder(Path(folder), place)
            shared.enter()
            app = create_app(settings, engine, shared)
            Server(app, stopping, settings.limits.head_timeout_seconds, lifeline).run([listener])
            return 0

        patience = stopping.delay_seconds + stopping.drain_seconds + _KILL_SECONDS
        # A socket that this process kept would go on taking connections that nobody serves.
        return Supervisor(work, num_workers, patience, listener.close).run()


def _loaded(settings: Settings) -> Engine | None:
    """The registry's current bundle, ready to be inherited; `None` if there is none: workers wait for it and say so."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    registry = Registry(settings.registry)
    try:
        engine = settings.make_engine(registry.load(registry.current()))
    except LOAD_ERRORS as exc:
        logger.warning("no model to begin with", extra={"reason": str(exc)})
        return None
    gc.collect()
    gc.freeze()  # the collector would write to every object that workers share, and so copy it for each of them
    logger.info("model is loaded", extra={"version": engine.version, "threads": len(os.listdir("/proc/self/task"))})
    return engine
