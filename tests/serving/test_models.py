"""Which model is live: hot swaps, refused bundles, stores that do not fit, registries without a model."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from typing import Any

import httpx
import pyarrow as pa
import pytest

from feature_store import Column, ViewSchema, parse_store
from ranker.schema import Schema
from serving import create_app
from tests.serving.conftest import (
    ADMIN,
    CANDIDATES,
    CONTEXT,
    ITEMS,
    SCHEMA,
    World,
    eventually,
    impressions,
    offline,
    running,
)

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}


async def version(client: httpx.AsyncClient) -> str:
    """Version of the model that ranks."""
    response = await client.post("/rank", json=BODY)
    return str(response.json().get("model_version"))


async def ready(client: httpx.AsyncClient) -> tuple[int, str]:
    """Status and text of /readyz."""
    response = await client.get("/readyz")
    return response.status_code, response.text


async def test_a_new_current_bundle_goes_live_without_a_restart(world: World) -> None:
    async with world.serve() as client:
        assert await version(client) == "v1"
        await asyncio.to_thread(world.publish, "v2", 2)
        await eventually(lambda: _is(version(client), "v2"))
        answer = (await client.post("/rank", json=BODY)).json()
        expected = offline(world.registry.load("v2"), "u1", CONTEXT, CANDIDATES)["ctr"]
        found = {entry["item_id"]: entry["outputs"]["ctr"] for entry in answer["ranking"]}
        assert [found[item] for item in CANDIDATES] == pytest.approx(expected.tolist(), abs=1e-6)
        assert 'ranker_model_info{version="v2"} 1.0' in (await client.get("/metrics")).text
        await asyncio.to_thread(world.registry.rollback)
        await eventually(lambda: _is(version(client), "v1"))


async def test_nothing_holds_a_model_that_was_replaced(world: World) -> None:
    app = create_app(world.settings())
    async with running(app) as client:
        old = weakref.ref(app.state.server.models.live())
        gc.disable()  # a cycle would live on in a server, which keeps the collector away from what was there early
        try:
            await asyncio.to_thread(world.publish, "v2", 2)
            await eventually(lambda: _is(version(client), "v2"))

            async def has_gone() -> bool:
                return old() is None

            await eventually(has_gone)
        finally:
            gc.enable()


async def test_requests_during_a_swap_are_answered_by_one_model_each(world: World) -> None:
    async with world.serve() as client:
        by_version: dict[str, list[Any]] = {}
        publishing = asyncio.create_task(asyncio.to_thread(world.publish, "v2", 2))
        while "v2" not in by_version:
            response = await client.post("/rank", json=BODY)
            assert response.status_code == 200
            answer = response.json()
            by_version.setdefault(answer["model_version"], []).append(answer["ranking"])
        await publishing
        for rankings in by_version.values():
            assert all(ranking == rankings[0] for ranking in rankings)


@pytest.mark.parametrize("file", ["model.pt", "encoder/numeric.json", "golden.parquet", "fusion.json"])
async def test_a_bundle_with_a_changed_byte_never_replaces_a_good_one(world: World, file: str) -> None:
    async with world.serve() as client:
        await asyncio.to_thread(world.publish, "v2", 2, activate=False)
        path = world.registry.path("v2") / file
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        response = await client.post("/admin/models/v2/activate", headers=ADMIN)
        assert response.status_code == 409
        assert file in response.json()["detail"]
        assert world.registry.current() == "v1"
        point_to(world, "v2")
        await eventually(lambda: _contains(ready(client), "version 'v2' was refused"))
        assert await version(client) == "v1"
        assert (await ready(client))[0] == 200
        failures = "ranker_reload_failures_total 1.0"
        assert failures in (await client.get("/metrics")).text
        await asyncio.sleep(0.1)  # looks at the registry several times, and does not try again
        assert failures in (await client.get("/metrics")).text
        point_to(world, "v1")
        await eventually(lambda: _is(_warnings(client), []))


async def test_without_a_current_version_the_server_waits_for_one(world: World) -> None:
    shutil.rmtree(world.folder / "registry")
    async with world.serve() as client:
        for path, method in (("/readyz", "GET"), ("/rank", "POST")):
            response = await client.request(method, path, json=BODY)
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["retry-after"]
            assert "ranker-train publish" in response.json()["detail"]
        assert (await client.get("/healthz")).status_code == 200
        await asyncio.to_thread(world.publish, "v5", 5)
        await eventually(lambda: _is(version(client), "v5"))
        assert (await ready(client))[0] == 200


async def test_a_registry_that_vanishes_leaves_the_live_model(world: World) -> None:
    async with world.serve() as client:
        pointer = world.folder / "registry" / "current.json"
        content = pointer.read_bytes()
        pointer.unlink()
        await eventually(lambda: _contains(ready(client), "no current version"))
        assert await version(client) == "v1"
        pointer.write_bytes(content)
        await eventually(lambda: _is(_warnings(client), []))


@pytest.mark.parametrize(
    ("view", "column"),
    [
        (ViewSchema("item", (Column("price", "float"), Column("tags", "string_list"))), "'brand'"),
        (
            ViewSchema("item", (Column("price", "string"), Column("brand", "int"), Column("tags", "string_list"))),
            "'price'",
        ),
        (ViewSchema("item", (Column("price", "float"), Column("brand", "int"), Column("tags", "string"))), "'tags'"),
        (ViewSchema("user", (Column("segment", "string"), Column("age", "int_list"))), "'age'"),
    ],
)
async def test_a_store_built_for_another_schema_is_not_ready(world: World, view: ViewSchema, column: str) -> None:
    async with parse_store(world.store_text).build() as store:
        right = await store.schema(view.view)
        assert right is not None
        await store.create_view(view, replace=True)
        async with world.serve() as client:
            for path, method in (("/readyz", "GET"), ("/rank", "POST")):
                response = await client.request(method, path, json=BODY)
                assert response.status_code == 503
                detail = response.json()["detail"]
                assert f"'{view.view}'" in detail
                assert column in detail
                assert f"ranker-features materialize --view {view.view} --key {view.view}_id" in detail
            await store.create_view(right, replace=True)
            await eventually(lambda: _is(version(client), "v1"))
            await store.create_view(view, replace=True)
            await eventually(lambda: _contains(ready(client), column))


async def test_a_store_without_views_is_not_ready(world: World) -> None:
    shutil.rmtree(world.folder / "features")
    async with parse_store(world.store_text).build() as store:
        await store.create_view(ViewSchema("other", (Column("x", "int"),)))
        async with world.serve() as client:
            status, text = await ready(client)
            assert status == 503
            assert "has no view 'user'" in text


def wider_schema() -> Schema:
    """The usual schema and a feature that the store does not have yet."""
    colour = {"name": "colour", "side": "item", "kind": "categorical", "encoding": {"kind": "hash", "num_buckets": 5}}
    return Schema.model_validate({**SCHEMA, "features": [*SCHEMA["features"], colour]})


async def test_a_bundle_that_needs_more_features_waits_for_them(world: World) -> None:
    async with parse_store(world.store_text).build() as store, world.serve() as client:
        rows = impressions()
        rows = rows.append_column("colour", pa.array([["red", "blue", None][n % 3] for n in range(rows.num_rows)]))
        await asyncio.to_thread(world.publish, "v2", 2, schema=wider_schema(), rows=rows)
        await eventually(lambda: _contains(ready(client), "lacks column 'colour'"))
        assert await version(client) == "v1"
        response = await client.post("/admin/models/v2/activate", headers=ADMIN)
        assert response.status_code == 409
        old = await store.schema("item")
        assert old is not None
        await store.create_view(ViewSchema("item", (*old.columns, Column("colour", "string"))), replace=True)
        await eventually(lambda: _is(version(client), "v2"))
        await store.put_many("item", [(item, {**values, "colour": "red"}, None) for item, values in ITEMS.items()])
        assert (await client.post("/rank", json=BODY)).status_code == 200


async def test_stored_values_that_the_model_cannot_read_are_a_problem_of_the_store(world: World) -> None:
    async with parse_store(world.store_text).build() as store, world.serve() as client:
        right = await store.schema("item")
        assert right is not None
        text = ViewSchema("item", (Column("price", "string"), Column("brand", "int"), Column("tags", "string_list")))
        await store.create_view(text, replace=True)
        await store.put_many("item", [("i1", {"price": "cheap"}, None)])
        await store.create_view(right, replace=True)  # the row stays as it was written
        await eventually(lambda: _is(_status(client), 200))
        response = await client.post("/rank", json={"candidates": ["i1"]})
        assert response.status_code == 503
        assert "'price'" in response.json()["detail"]
        assert (await client.post("/rank", json={"candidates": ["i2"]})).status_code == 200


async def test_admins_list_and_activate_models(world: World) -> None:
    async with world.serve(poll_seconds=3600) as client:
        await asyncio.to_thread(world.publish, "v2", 2, activate=False)
        response = await client.post("/admin/models/v2/activate", headers=ADMIN)
        assert response.status_code == 200, response.text
        assert response.json() == (await client.get("/admin/models", headers=ADMIN)).json()
        states = [(model["version"], model["current"], model["live"]) for model in response.json()]
        assert states == [("v1", False, False), ("v2", True, True)]
        assert await version(client) == world.registry.current() == "v2"
        for unknown in ("v9", "..", "a b"):
            response = await client.post(f"/admin/models/{unknown}/activate", headers=ADMIN)
            assert response.status_code == 404


def point_to(world: World, version: str) -> None:
    """Make a version current without any check, as a person with an editor could."""
    pointer = world.folder / "registry" / "current.json"
    current = world.registry.current()
    changed = world.folder / "registry" / "changed.json"
    changed.write_text(pointer.read_text().replace(f'"version": "{current}"', f'"version": "{version}"'))
    changed.replace(pointer)


async def _is(found: Any, expected: object) -> bool:
    return bool(await found == expected)


async def _contains(found: Any, words: str) -> bool:
    return words in (await found)[1]


async def _status(client: httpx.AsyncClient) -> int:
    return (await ready(client))[0]


async def _warnings(client: httpx.AsyncClient) -> list[str]:
    return list((await client.get("/readyz")).json()["warnings"])
