"""Servers whose items can be looked at, and the builders that they start."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from feature_store import parse_store
from serving import create_app
from serving.items import ItemSide
from tests.serving.conftest import CANDIDATES, CONTEXT, World, eventually, running

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}
QUICK = {"item_table": {"poll_seconds": 0.01}}


class Server(httpx.AsyncClient):
    """A client that can look into its server."""

    app: FastAPI

    @property
    def side(self) -> ItemSide:
        """Items of the live model."""
        side: ItemSide = self.app.state.server.models.live().item_side
        return side

    async def has_table(self) -> bool:
        """Whether the live model has its items."""
        return self.side.snapshot is not None

    async def ranking(self, **body: Any) -> dict[str, Any]:
        """Outputs by item id."""
        response = await self.post("/rank", json=BODY | body)
        assert response.status_code == 200, response.text
        return {entry["item_id"]: entry["outputs"] for entry in response.json()["ranking"]}

    async def degraded(self) -> list[str]:
        """What an answer says is wrong."""
        return list((await self.post("/rank", json=BODY)).json()["degraded"])


@asynccontextmanager
async def serving(world: World, wait: bool = True, **changes: Any) -> AsyncIterator[Server]:
    """A server in this process whose items are there."""
    app = create_app(world.settings(**(QUICK | changes)))
    async with running(app) as client:
        client.__class__ = Server
        assert isinstance(client, Server)
        client.app = app
        if wait:
            await eventually(client.has_table)
        yield client


def tables(world: World) -> list[str]:
    """Names of the tables that are kept."""
    folders = (world.folder / "item_tables").glob("*/*")
    return sorted(path.name for path in folders if path.is_dir())


async def put(world: World, rows: dict[str, dict[str, Any]], **options: Any) -> None:
    """Write items into the store."""
    async with parse_store(world.store_text).build() as store:
        await store.put_many("item", [(key, values, None) for key, values in rows.items()], **options)


def children(pid: int) -> list[int]:
    """Builders that a process has started."""
    pids = [int(child) for file in Path(f"/proc/{pid}/task").glob("*/children") for child in file.read_text().split()]
    return [child for child in pids if b"serving.items" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")]
