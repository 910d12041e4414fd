"""A store opened for one command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import typer

from feature_store.base import FeatureStore
from feature_store.config import parse_store
from feature_store.embedded import EmbeddedStore
from feature_store.errors import StoreError
from feature_store.redis import RedisStore

# A command line waits longer than a server may.
_PATIENCE_SECONDS = 10.0

_Result = TypeVar("_Result")


def run(store: str, work: Callable[[FeatureStore], Coroutine[Any, Any, _Result]]) -> _Result:
    """Do some work with a store; what the user can mend ends the program with code 2 and a message."""

    async def connected() -> _Result:
        async with _open(store) as features:
            return await work(features)

    try:
        return asyncio.run(connected())
    except StoreError as exc:
        typer.echo(f"Error: {exc}", err=True)
        raise typer.Exit(2) from exc


def _open(store: str) -> FeatureStore:
    config = parse_store(store)
    if isinstance(config, EmbeddedStore.Config):
        return config.build()
    patient: dict[str, Any] = {
        name: _PATIENCE_SECONDS
        for name in ("timeout_seconds", "connect_timeout_seconds")
        if name not in config.model_fields_set
    }
    return RedisStore.Config(**{**dict(config), **patient}).build()
