"""Admin routes: who may, what they may, and that the next request is ranked by it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from ranker.fusion import FusionPolicy, Term
from ranker.schema import Schema
from serving.policies import SQLitePolicyStore
from tests.serving.conftest import ADMIN, CANDIDATES, CONTEXT, SCHEMA, World, eventually

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES, "scene": "home"}
UPDATE = {"terms": [{"output": "ctcvr", "weight": 4.5}], "author": "ann", "comment": "sell more"}
HOME = "/admin/policies/home"


async def put(client: httpx.AsyncClient, update: object = UPDATE, **headers: str) -> httpx.Response:
    """Change the policy of the scene `home`."""
    return await client.put(HOME, json=update, headers=ADMIN | headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", HOME),
        ("PUT", HOME),
        ("GET", f"{HOME}/history"),
        ("POST", f"{HOME}/rollback"),
        ("GET", "/admin/models"),
        ("POST", "/admin/models/v1/activate"),
    ],
)
async def test_admin_routes_need_the_token(world: World, method: str, path: str) -> None:
    async with world.serve() as client:
        for value in (None, b"Bearer wrong", b"Basic YTpi", b"Bearer \xfc", b"Bearer"):
            sent = {} if value is None else {b"Authorization": value}
            response = await client.request(method, path, headers=sent, json=UPDATE)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.headers["content-type"] == "application/problem+json"
    async with world.serve(admin_token="") as client:
        for headers in (ADMIN, {"Authorization": "Bearer "}, {}):
            response = await client.request(method, path, headers=headers, json=UPDATE)
            assert response.status_code == 403
            assert "RANKER_ADMIN_TOKEN" in response.json()["detail"]


async def test_the_default_policy_is_version_0(client: httpx.AsyncClient) -> None:
    response = await client.get(HOME, headers=ADMIN)
    assert response.headers["etag"] == '"0"'
    assert response.json()["version"] == 0
    assert [term["output"] for term in response.json()["terms"]] == ["ctr", "ctcvr", "dwell"]


async def test_new_weights_rank_the_next_request(client: httpx.AsyncClient) -> None:
    before = (await client.post("/rank", json=BODY)).json()
    response = await put(client)
    assert response.status_code == 200, response.text
    assert response.headers["etag"] == '"1"'
    after = (await client.post("/rank", json=BODY)).json()
    assert (before["policy_version"], after["policy_version"]) == (0, 1)
    for entry in after["ranking"]:
        assert entry["score"] == pytest.approx(4.5 * entry["outputs"]["ctcvr"])
    elsewhere = (await client.post("/rank", json=BODY | {"scene": "cart"})).json()
    assert elsewhere["ranking"] == before["ranking"]
    assert (await client.get(HOME, headers=ADMIN)).json() == response.json()


async def test_a_change_by_another_process_is_seen_soon(world: World) -> None:
    async with world.serve() as one, world.serve() as two:
        assert (await put(one)).status_code == 200

        async def seen() -> bool:
            return bool((await two.post("/rank", json=BODY)).json()["policy_version"] == 1)

        await eventually(seen)


async def test_policies_outlive_the_server(world: World) -> None:
    async with world.serve() as client:
        saved = (await put(client)).json()
    async with world.serve() as client:
        assert (await client.get(HOME, headers=ADMIN)).json() == saved
        assert (await client.post("/rank", json=BODY)).json()["policy_version"] == 1


async def test_a_change_must_know_what_it_changes(client: httpx.AsyncClient) -> None:
    assert (await put(client)).headers["etag"] == '"1"'
    assert (await put(client)).status_code == 428
    for stale in ('"0"', '"2"', 'W/"1"'):
        response = await put(client, **{"If-Match": stale})
        assert response.status_code == 412
        assert "version 1" in response.json()["detail"]
    assert (await put(client, **{"If-Match": "1"})).status_code == 422
    assert (await put(client, **{"If-Match": '"1"'})).headers["etag"] == '"2"'
    assert (await put(client, **{"If-Match": '"7", "2"'})).headers["etag"] == '"3"'
    assert (await put(client, **{"If-Match": "*"})).headers["etag"] == '"4"'


async def test_of_concurrent_changes_on_one_version_one_wins(client: httpx.AsyncClient) -> None:
    responses = await asyncio.gather(*(put(client, **{"If-Match": '"0"'}) for _ in range(6)))
    assert sorted(response.status_code for response in responses) == [200] + [412] * 5


@pytest.mark.parametrize(
    ("terms", "field", "words"),
    [
        ([{"output": "clicks", "weight": 0.5}], "terms[0].output", "ctr, cvr, dwell, ctcvr"),
        ([{"output": "ctr", "weight": 1.5}], "terms[0].weight", "'ctr' must lie within [0, 1]"),
        ([{"output": "ctr", "weight": -0.1}], "terms[0].weight", "'ctr' must lie within [0, 1]"),
        ([{"output": "ctr", "weight": 0.5}, {"output": "ctcvr", "weight": 5.5}], "terms[1].weight", "[0, 5]"),
        ([{"output": "cvr", "weight": 2}], "terms[0].weight", "[0, 1]"),
        ([{"output": "ctr", "weight": 2, "max_weight": 3}], "terms[0].min_weight", "those of the bundle, [0, 1]"),
        ([{"output": "ctr", "weight": 0.5, "min_weight": 0.8, "max_weight": 0.7}], "terms[0].min_weight", "bounds"),
        ([{"output": "ctr", "weight": 0.5, "max_weight": 0.4}], "terms[0].weight", "[0, 0.4]"),
        ([{"output": "ctr", "weight": 0.5}, {"output": "ctr", "weight": 0.5}], "terms", "each output once"),
        ([{"output": "ctr", "weight": 0}], "terms", "must not all weigh 0"),
        ([], "terms", "at least 1 item"),
        ([{"output": "ctr", "weight": "0.5"}], "terms.0.weight", "valid number"),
        ([{"output": "ctr", "weight": True}], "terms.0.weight", "valid number"),
        ([{"output": "ctr", "weight": 0.5, "colour": "red"}], "terms.0.colour", "not permitted"),
        ([{"output": "ctr"}], "terms.0.weight", "required"),
    ],
)
async def test_a_policy_that_cannot_be_served_is_refused(
    client: httpx.AsyncClient, terms: list[dict[str, Any]], field: str, words: str
) -> None:
    response = await put(client, {"terms": terms, "author": "ann"})
    assert response.status_code == 422
    fault = response.json()["errors"][0]
    assert fault["field"].startswith(field)
    assert words in fault["message"] + fault["fix"]
    assert fault["fix"]
    assert (await client.get(HOME, headers=ADMIN)).json()["version"] == 0


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"terms": NaN}', b"\xff", b'{"author": "\\ud800", "terms": []}', b"[" * 9999]
)
async def test_a_body_that_is_no_policy_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.put(HOME, content=body, headers=ADMIN | {"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("scene", ["a%20b", "x" * 101, "%00", "ü"])
async def test_a_scene_has_a_plain_name(client: httpx.AsyncClient, scene: str) -> None:
    response = await client.get(f"/admin/policies/{scene}", headers=ADMIN)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "path.scene"


async def test_history_and_rollback(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{HOME}/history", headers=ADMIN)).json() == []
    for version, weight in enumerate((0.5, 0.25)):
        update = {"terms": [{"output": "ctr", "weight": weight}], "author": f"a{version}"}
        assert (await put(client, update, **{"If-Match": f'"{version}"'})).status_code == 200
    wish = {"version": 1, "author": "bob"}
    assert (await client.post(f"{HOME}/rollback", json=wish, headers=ADMIN)).status_code == 428
    response = await client.post(f"{HOME}/rollback", json=wish, headers=ADMIN | {"If-Match": '"2"'})
    assert response.status_code == 200, response.text
    assert response.headers["etag"] == '"3"'
    assert response.json()["terms"][0]["weight"] == 0.5
    history = (await client.get(f"{HOME}/history", headers=ADMIN)).json()
    assert [(entry["version"], entry["author"]) for entry in history] == [(3, "bob"), (2, "a1"), (1, "a0")]
    assert history[0]["comment"] == "back to version 1"
    limited = await client.get(f"{HOME}/history", params={"limit": 1}, headers=ADMIN)
    assert limited.json() == history[:1]
    missing = await client.post(f"{HOME}/rollback", json={"version": 9, "author": "bob"}, headers=ADMIN)
    assert missing.status_code == 404


async def test_a_policy_for_another_model_falls_back_to_the_default(world: World) -> None:
    store = SQLitePolicyStore.Config(path=world.folder / "policies.sqlite").build()
    other = FusionPolicy(terms=(Term(output="likes", weight=1.0),))
    await store.save("home", other, author="ann")
    await store.close()
    async with world.serve() as client:
        answer = (await client.post("/rank", json=BODY)).json()
        assert answer["degraded"] == ["policy_incompatible"]
        assert answer["policy_version"] == 0
        default = (await client.post("/rank", json=BODY | {"scene": "cart"})).json()
        assert answer["ranking"] == default["ranking"]


async def test_a_model_swap_keeps_policies_that_the_new_model_can_serve(world: World) -> None:
    outputs_gone = Schema.model_validate({**SCHEMA, "outputs": {}})
    fusion = FusionPolicy(terms=(Term(output="ctr", weight=0.5),))
    async with world.serve() as client:
        await put(client)
        await asyncio.to_thread(world.publish, "v2", 2, schema=outputs_gone, fusion=fusion)

        async def swapped() -> bool:
            return bool((await client.post("/rank", json=BODY)).json()["model_version"] == "v2")

        await eventually(swapped)
        answer = (await client.post("/rank", json=BODY)).json()
        assert answer["degraded"] == ["policy_incompatible"]
        assert set(answer["ranking"][0]["outputs"]) == {"ctr", "cvr", "dwell"}


async def test_without_a_policy_store_the_default_ranks(world: World) -> None:
    blocked = world.folder / "file"
    blocked.write_text("not a folder")
    async with world.serve(policies={"backend": "sqlite", "path": blocked / "policies.sqlite"}) as client:
        answer = (await client.post("/rank", json=BODY)).json()
        assert answer["degraded"] == ["policies_unavailable"]
        response = await put(client)
        assert response.status_code == 503
        assert "RANKER_POLICIES__PATH" in response.json()["detail"]
        assert "policies_unavailable" in (await client.get("/readyz")).json()["warnings"]
