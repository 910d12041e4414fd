"""`/rank`: what is answered, and that it equals what the bundle scores offline."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import pytest

from feature_store import parse_store
from ranker.bundle import Bundle
from tests.serving.conftest import CANDIDATES, CONTEXT, FUSION, World, fill, offline


async def rank(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    """The answer to a request for the usual user, context and candidates, with changes."""
    given = {"user_id": "u2", "context": CONTEXT, "candidates": CANDIDATES}
    response = await client.post("/rank", json=given | body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_scores_equal_offline_scores(client: httpx.AsyncClient, bundle: Bundle) -> None:
    answer = await rank(client)
    expected = offline(bundle, "u2", CONTEXT, CANDIDATES)
    scores = dict(zip(CANDIDATES, FUSION.score(expected), strict=True))
    for entry in answer["ranking"]:
        place = CANDIDATES.index(entry["item_id"])
        assert list(entry["outputs"]) == ["ctr", "cvr", "dwell", "ctcvr"]
        for name, value in entry["outputs"].items():
            assert value == pytest.approx(expected[name][place], abs=1e-6)
        assert entry["score"] == pytest.approx(scores[entry["item_id"]], abs=1e-6)
    assert [e["item_id"] for e in answer["ranking"]] == sorted(CANDIDATES, key=lambda item: -scores[item])


async def test_the_answer_has_exactly_the_agreed_fields(client: httpx.AsyncClient) -> None:
    answer = await rank(client, top_k=1, scene="home", request_id="r-1")
    assert answer | {"ranking": None} == {
        "request_id": "r-1",
        "model_version": "v1",
        "policy_version": 0,
        "scene": "home",
        "experiment": None,
        "variant": None,
        "ranking": None,
        "degraded": [],
        "missing": {"user": False, "items": 0},
    }
    assert set(answer["ranking"][0]) == {"item_id", "score", "outputs"}


async def test_only_candidates_are_needed(client: httpx.AsyncClient, bundle: Bundle) -> None:
    response = await client.post("/rank", json={"candidates": ["i1"]})
    answer = response.json()
    expected = offline(bundle, None, {}, ["i1"])
    assert answer["missing"] == {"user": True, "items": 0}
    assert answer["request_id"] == response.headers["x-request-id"]
    assert answer["ranking"][0]["outputs"]["ctr"] == pytest.approx(expected["ctr"][0], abs=1e-6)


@pytest.mark.parametrize("top_k", [1, 3, len(CANDIDATES), 10_000])
async def test_top_k_is_the_beginning_of_the_whole_ranking(client: httpx.AsyncClient, top_k: int) -> None:
    whole, best = await rank(client), await rank(client, top_k=top_k)
    assert best["ranking"] == whole["ranking"][:top_k]


async def test_ids_come_back_as_they_came(client: httpx.AsyncClient) -> None:
    answer = await rank(client, candidates=["7", 8, "i1", -3, "ü/ ☃"], user_id=12)
    assert {entry["item_id"] for entry in answer["ranking"]} == {"7", 8, "i1", -3, "ü/ ☃"}
    assert answer["missing"] == {"user": True, "items": 4}


async def test_an_integer_and_its_text_are_one_entity(world: World) -> None:
    async with parse_store(world.store_text).build() as store:
        await store.put_many("item", [(5, {"price": 4.0, "brand": 2, "tags": ["t1"]}, None)])
        await store.put_many("user", [("9", {"age": 30.0, "segment": "new"}, None)])
    async with world.serve() as client:
        as_text = await rank(client, candidates=["5"], user_id="9")
        as_number = await rank(client, candidates=[5], user_id=9)
    assert as_text["missing"] == as_number["missing"] == {"user": False, "items": 0}
    assert as_text["ranking"][0]["score"] == as_number["ranking"][0]["score"]


async def test_equal_scores_keep_the_order_of_the_candidates(client: httpx.AsyncClient, bundle: Bundle) -> None:
    names = [f"absent{n}" for n in range(100)]  # without features only the hash of their id tells them apart
    by_score: dict[float, list[str]] = {}
    for name, score in zip(names, FUSION.score(offline(bundle, "u2", CONTEXT, names)), strict=True):
        by_score.setdefault(float(score), []).append(name)
    alike = max(by_score.values(), key=len)
    assert len(alike) > 2
    for candidates in (alike, alike[::-1]):
        answer = await rank(client, candidates=candidates)
        assert [entry["item_id"] for entry in answer["ranking"]] == candidates


async def test_items_and_users_without_features_are_counted(client: httpx.AsyncClient, bundle: Bundle) -> None:
    answer = await rank(client, user_id="nobody", candidates=["i3", "gone", "i5", "lost"])
    assert answer["missing"] == {"user": True, "items": 2}
    assert answer["degraded"] == []
    expected = offline(bundle, "nobody", CONTEXT, ["i3", "gone", "i5", "lost"])
    found = {entry["item_id"]: entry["outputs"]["cvr"] for entry in answer["ranking"]}
    np.testing.assert_allclose([found[i] for i in ("i3", "gone", "i5", "lost")], expected["cvr"], atol=1e-6)


async def test_overrides_replace_what_the_store_has(client: httpx.AsyncClient) -> None:
    copied = {"price": 3.0 + 2.5 * 6, "brand": 6 % 4, "tags": ["t0"]}
    candidates = ["i6", {"item_id": "i7", "features": copied}, {"item_id": "i8", "features": {}}]
    answer = await rank(client, candidates=candidates, explain=True)
    by_id = {entry["item_id"]: entry for entry in answer["ranking"]}
    plain = await rank(client, candidates=["i6", "i7", "i8"])
    before = {entry["item_id"]: entry for entry in plain["ranking"]}
    assert by_id["i8"]["outputs"] == before["i8"]["outputs"]
    assert by_id["i7"]["outputs"] != before["i7"]["outputs"]
    assert by_id["i7"]["explain"]["overridden"] == ["price", "brand", "tags"]
    assert by_id["i6"]["explain"]["overridden"] == []


@pytest.mark.parametrize("brand", [2, "2", 2.0])
async def test_a_category_is_the_same_as_number_and_as_text(client: httpx.AsyncClient, brand: object) -> None:
    changed = await rank(client, candidates=["i1", {"item_id": "i3", "features": {"brand": brand, "price": True}}])
    same = await rank(client, candidates=["i1", {"item_id": "i3", "features": {"brand": 2, "price": 1.0}}])
    assert changed["ranking"] == same["ranking"]


@pytest.mark.parametrize("tags", [[], None, ["t1", None], [1, "t1"], [True, 2.5]])
async def test_lists_may_be_empty_null_or_mixed(client: httpx.AsyncClient, tags: object) -> None:
    candidates = ["i4", {"item_id": "i3", "features": {"tags": tags}}]
    answer = await rank(client, candidates=candidates, context={"recent": tags})
    assert len(answer["ranking"]) == 2


async def test_a_candidate_that_brings_everything_misses_nothing(client: httpx.AsyncClient, bundle: Bundle) -> None:
    features = {"price": 5.5, "brand": 1, "tags": ["t0", "t1"]}
    answer = await rank(client, candidates=[{"item_id": "new", "features": features}])
    assert answer["missing"]["items"] == 0
    known = await rank(client, candidates=[{"item_id": "new", "features": {"price": 5.5}}])
    assert known["missing"]["items"] == 1


@pytest.mark.parametrize("has_table", [False, True])
async def test_a_stored_value_that_cannot_be_read_is_named_unless_replaced(world: World, has_table: bool) -> None:
    async with parse_store(world.store_text).build() as store:
        await store.update_many("item", [("i3", {"price": 1e300}, None)])
    async with world.serve(item_table={"enabled": has_table}) as client:
        candidates = ["i1", "i3", "i5"]
        refused = await client.post("/rank", json={"context": CONTEXT, "candidates": candidates})
        assert refused.status_code == 503
        assert "item 'i3': column 'price' must hold finite numbers" in refused.json()["detail"]
        replaced = await rank(client, candidates=["i1", {"item_id": "i3", "features": {"price": None}}, "i5"])
        assert replaced["missing"]["items"] == 0
        assert await rank(client, candidates=["i1", "i5"])


async def test_explain_shows_terms_that_add_up_and_what_was_missing(client: httpx.AsyncClient) -> None:
    answer = await rank(client, user_id="u3", context={"hour": 3}, explain=True)
    for entry in answer["ranking"]:
        terms = entry["explain"]["terms"]
        assert [term["output"] for term in terms] == ["ctr", "ctcvr", "dwell"]
        assert sum(term["contribution"] for term in terms) == pytest.approx(entry["score"])
        for term in terms:
            assert term["contribution"] == pytest.approx(term["weight"] * term["value"])
            assert term["value"] == entry["outputs"][term["output"]]
        price = ["price"] if entry["item_id"] == "i4" else []
        assert entry["explain"]["missing"] == ["age", "device", "recent", *price]


async def test_a_context_value_matters(client: httpx.AsyncClient) -> None:
    assert (await rank(client))["ranking"] != (await rank(client, context={**CONTEXT, "hour": 2}))["ranking"]


async def test_concurrent_requests_get_their_own_answers(client: httpx.AsyncClient, bundle: Bundle) -> None:
    sets = [CANDIDATES[start : start + size] for start in range(4) for size in (1, 4, 9)]
    answers = await asyncio.gather(*(rank(client, user_id=f"u{n % 5}", candidates=ids) for n, ids in enumerate(sets)))
    for n, (ids, answer) in enumerate(zip(sets, answers, strict=True)):
        expected = dict(zip(ids, offline(bundle, f"u{n % 5}", CONTEXT, ids)["ctr"], strict=True))
        found = {entry["item_id"]: entry["outputs"]["ctr"] for entry in answer["ranking"]}
        assert found == pytest.approx(expected, abs=1e-6)


async def test_a_batch_answers_each_request_by_itself(client: httpx.AsyncClient) -> None:
    good = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES, "request_id": "first"}
    bad: dict[str, Any] = {"candidates": []}
    worse = {"candidates": ["i1"], "context": {"planet": "mars"}}
    response = await client.post("/rank/batch", json={"requests": [good, bad, worse, 5, good]})
    assert response.status_code == 200
    first, empty, unknown, number, last = response.json()["responses"]
    assert first == last == (await client.post("/rank", json=good)).json()
    assert [problem["status"] for problem in (empty, unknown, number)] == [422, 422, 422]
    assert unknown["errors"][0]["field"] == "context.planet"


async def test_a_batch_numbers_requests_without_an_id(client: httpx.AsyncClient) -> None:
    body = {"requests": [{"candidates": ["i1"]}, {"candidates": ["i2"]}]}
    response = await client.post("/rank/batch", json=body, headers={"X-Request-Id": "abc"})
    assert [answer["request_id"] for answer in response.json()["responses"]] == ["abc.0", "abc.1"]


async def test_a_batch_has_limits(world: World) -> None:
    async with world.serve(limits={"max_batch_requests": 2}) as client:
        for requests, status in (([], 422), ([{"candidates": ["i1"]}] * 3, 413)):
            response = await client.post("/rank/batch", json={"requests": requests})
            assert response.status_code == status
            assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("backend", ["lmdb", "redis"])
async def test_both_stores_give_the_same_answers(world: World, redis_url: str, backend: str) -> None:
    config = parse_store(f"{redis_url}?key_prefix=parity" if backend == "redis" else world.store_text)
    async with config.build() as store:
        await fill(store)
    async with world.serve(store=config) as client, world.serve() as reference:
        for user_id in ("u0", "u3", None, "nobody"):
            body = {"user_id": user_id, "candidates": [*CANDIDATES, "gone"], "request_id": "same", "explain": True}
            assert await rank(client, **body) == await rank(reference, **body)
