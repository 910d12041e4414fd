"""Without a model, where that is allowed: what is popular first, and the answer says so."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import httpx
import pytest

from tests.serving.conftest import CONTEXT, ITEMS, World, eventually

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": ["i3", "gone", "i9", "i4", "i1"]}


async def rank(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    """The answer to the usual request, with changes."""
    response = await client.post("/rank", json=BODY | changes)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ids(answer: dict[str, Any]) -> list[str]:
    """Items in the order of the answer."""
    return [entry["item_id"] for entry in answer["ranking"]]


@pytest.fixture
def modelless(world: World) -> World:
    """A world without any bundle."""
    shutil.rmtree(world.folder / "registry")
    return world


async def test_the_most_popular_come_first(modelless: World) -> None:
    async with modelless.serve(fallback={"enabled": True, "popularity": "price"}) as client:
        answer = await rank(client)
        assert ids(answer) == ["i9", "i3", "i1", "gone", "i4"]  # the last two have no price
        assert answer["ranking"][0]["score"] == ITEMS["i9"]["price"]
        assert answer["degraded"] == ["fallback_model"]
        assert answer["model_version"] == "fallback"
        assert ids(await rank(client, top_k=2)) == ["i9", "i3"]
        cheap = {"item_id": "i9", "features": {"price": 0.5}}
        assert ids(await rank(client, candidates=["i3", cheap, "i1"])) == ["i3", "i1", "i9"]
        assert 'ranker_degraded_total{reason="fallback_model"} 3.0' in (await client.get("/metrics")).text


@pytest.mark.parametrize("column", [None, "brand name", "tags"])
async def test_without_a_figure_the_order_is_kept(modelless: World, column: str | None) -> None:
    async with modelless.serve(fallback={"enabled": True, "popularity": column}) as client:
        assert ids(await rank(client)) == BODY["candidates"]


async def test_without_a_store_the_order_is_kept(modelless: World) -> None:
    shutil.rmtree(modelless.folder / "features")
    async with modelless.serve(fallback={"enabled": True, "popularity": "price"}) as client:
        assert ids(await rank(client)) == BODY["candidates"]


@pytest.mark.parametrize("price", [10**400, "dear", [1], None, True])
async def test_figures_that_are_none_do_not_break_it(modelless: World, price: object) -> None:
    async with modelless.serve(fallback={"enabled": True, "popularity": "price"}) as client:
        answer = await rank(client, candidates=["i3", {"item_id": "i9", "features": {"price": price}}])
        assert ids(answer) == ["i3", "i9"]


async def test_it_ends_when_a_model_is_there_and_readiness_tells(modelless: World) -> None:
    async with modelless.serve(fallback={"enabled": True}) as client:
        ready = await client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["model_version"] == "fallback"
        assert "no current version" in ready.json()["warnings"][0]
        await asyncio.to_thread(modelless.publish, "v5", 5)

        async def live() -> bool:
            return bool((await rank(client))["model_version"] == "v5")

        await eventually(live)
        assert (await rank(client))["degraded"] == []
        assert (await client.get("/readyz")).json()["warnings"] == []


async def test_it_is_off_by_default(modelless: World) -> None:
    async with modelless.serve() as client:
        assert (await client.post("/rank", json=BODY)).status_code == 503
