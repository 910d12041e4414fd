"""Every request that cannot be answered gets problem details that name the field, the value and the fix."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from tests.serving.conftest import Answer, World

SOME = {"candidates": ["i1", "i2"]}


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of an answer."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = response.json()
    assert found["status"] == status
    assert found["type"].startswith("urn:ranker:problem:")
    assert found["title"]
    assert found["detail"]
    return found


@pytest.mark.parametrize(
    ("body", "field", "value", "words"),
    [
        ({"candidates": []}, "candidates", "[]", "length >= 1"),
        ({}, "candidates", None, "must be given"),
        ({"candidates": "i1"}, "candidates", "i1", "`array`"),
        ({"candidates": ["i1", 2.5]}, "candidates[1]", 2.5, "`int | str"),
        ({"candidates": [True]}, "candidates[0]", True, "got `bool`"),
        ({"candidates": [None]}, "candidates[0]", None, "got `null`"),
        ({"candidates": [""]}, "candidates[0]", "", "length >= 1"),
        ({"candidates": ["x" * 257]}, "candidates[0]", "x" * 200 + "… (257 characters)", "length <= 256"),
        ({"candidates": [2**63]}, "candidates[0]", str(2**63), "<= 9223372036854775807"),
        ({"candidates": [{"features": {}}]}, "candidates[0].item_id", None, "must be given"),
        ({"candidates": [{"item_id": "i1", "feature": {}}]}, "candidates[0].feature", None, "no such key"),
        ({"candidates": ["i1", "i2", "i1"]}, "candidates[2]", "i1", "repeats item 'i1'"),
        ({"candidates": [5, "5"]}, "candidates[1]", "5", "repeats item '5'"),
        ({"candidates": ["7", {"item_id": 7}]}, "candidates[1]", 7, "repeats item '7'"),
        (SOME | {"user_id": 1.5}, "user_id", 1.5, "got `float`"),
        (SOME | {"user_id": ["u1"]}, "user_id", "['u1']", "got `array`"),
        (SOME | {"top_k": 0}, "top_k", 0, ">= 1"),
        (SOME | {"top_k": "5"}, "top_k", "5", "got `str`"),
        (SOME | {"scene": "a b"}, "scene", "a b", "matching regex"),
        (SOME | {"explain": 1}, "explain", 1, "`bool`"),
        (SOME | {"request_id": ""}, "request_id", "", "length >= 1"),
        (SOME | {"user": "u1"}, "user", None, "no such key"),
        (SOME | {"context": {"hour": "21"}}, "context.hour", "21", "must be a number"),
        (SOME | {"context": {"hour": [21]}}, "context.hour", "[21]", "must be a number"),
        (SOME | {"context": {"hour": 10**40}}, "context.hour", str(10**40), "must lie within"),
        (SOME | {"context": {"device": ["ios"]}}, "context.device", "['ios']", "must be a string"),
        (SOME | {"context": {"device": 2**70}}, "context.device", str(2**70), "64 bits"),
        (SOME | {"context": {"device": {"os": "ios"}}}, "context", None, "got `object`"),
        (SOME | {"context": {"recent": "i1"}}, "context.recent", "i1", "must be a list"),
        (SOME | {"context": {"recent": [2**64]}}, "context.recent", "[18446744073709551616]", "64 bits"),
        (SOME | {"context": {"recent": [["i1"]]}}, "context", None, "got `array`"),
        (SOME | {"context": {"age": 30}}, "context.age", 30, "feature of the live"),
        ({"candidates": [{"item_id": 1, "features": {"price": "12"}}]}, "candidates[0].features.price", "12", "number"),
        ({"candidates": [{"item_id": "i1", "features": {"tags": 5}}]}, "candidates[0].features.tags", 5, "a list"),
        ({"candidates": [2, {"item_id": 1, "features": {"hour": 1}}]}, "candidates[1].features.hour", 1, "feature"),
        ({"candidates": [{"item_id": 1, "features": {"item_id": 9}}]}, "candidates[0].features.item_id", 9, "feature"),
    ],
)  # fmt: skip
def test_a_fault_is_named(answer: Answer, body: object, field: str, value: object, words: str) -> None:
    found = problem(answer("/rank", json.dumps(body).encode()), 422)
    fault = found["errors"][0]
    assert fault["field"].startswith(field)
    assert words in fault["message"]
    assert fault["fix"]
    if value is not None:
        assert fault["value"] == value
    assert fault["field"] in found["detail"]


async def test_unknown_names_list_the_valid_ones(client: httpx.AsyncClient) -> None:
    body = {"candidates": [{"item_id": "i1", "features": {"colour": "red"}}], "context": {"weather": "rain"}}
    found = problem(await client.post("/rank", json=body), 422)
    fixes = {error["field"]: error["fix"] for error in found["errors"]}
    assert fixes == {
        "context.weather": "remove it; valid names: device, hour, recent",
        "candidates[0].features.colour": "remove it; valid names: brand, price, tags",
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"i1, i2",
        b'{"candidates": ["i1"]',
        b'{"candidates": ["i1"]} {}',
        b'{"candidates": ["\xff"]}',
        b'{"candidates": ["\\ud800"]}',
        b'{"candidates": ["i1"], "context": {"hour": NaN}}',
        b'{"candidates": ["i1"], "context": {"hour": Infinity}}',
        b"\x00\x01",
    ],
)
def test_a_body_that_is_not_json_is_refused(answer: Answer, body: bytes) -> None:
    fault = problem(answer("/rank", body), 422)["errors"][0]
    assert fault["field"] == "body"
    assert "null" in fault["fix"]
    problem(answer("/rank/batch", body), 422)
    problem(answer("/feedback", body), 422)


def test_a_number_too_large_for_json_is_refused(answer: Answer) -> None:
    body = b'{"candidates": ["i1"], "context": {"hour": 1e999}}'
    assert "out of range" in problem(answer("/rank", body), 422)["errors"][0]["message"].lower()


@pytest.mark.parametrize("start", [b"", b'{"candidates":', b'{"context":{"hour":'])
def test_deep_nesting_is_refused(answer: Answer, start: bytes) -> None:
    problem(answer("/rank", start + b"[" * 100_000), 422)


async def test_too_many_candidates_answer_413(client: httpx.AsyncClient) -> None:
    found = problem(await client.post("/rank", json={"candidates": list(range(100_001))}), 413)
    assert "must be at most 10000, got 100001" in found["detail"]
    assert "RANKER_LIMITS__MAX_CANDIDATES" in found["detail"]


async def test_as_many_candidates_as_allowed_are_ranked(world: World) -> None:
    async with world.serve(limits={"max_candidates": 300}) as client:
        assert (await client.post("/rank", json={"candidates": list(range(300))})).status_code == 200
        problem(await client.post("/rank", json={"candidates": list(range(301))}), 413)


async def test_a_ranking_of_extreme_numbers_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/rank", json=SOME | {"context": {"hour": 3e38}})
    assert response.status_code in (200, 422)
    assert "null" not in json.dumps(response.json().get("ranking", []))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/rank", 405),
        ("DELETE", "/healthz", 405),
        ("POST", "/admin/policies/home", 405),
    ],
)
async def test_unknown_routes_and_methods_answer_problems(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert path in problem(response, status)["detail"]
    if status == 405:
        assert response.headers["allow"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
keys = st.sampled_from(["candidates", "user_id", "context", "top_k", "scene", "explain", "request_id", "other"])
context_like = st.dictionaries(st.sampled_from(["hour", "device", "recent", "price", "tags", "brand"]), json_values)
candidates_like = st.lists(
    st.text(max_size=3)
    | st.integers(-9, 9)
    | st.fixed_dictionaries({"item_id": st.integers(), "features": context_like})
)


@settings(max_examples=100, deadline=None)
@given(body=st.dictionaries(keys, json_values | context_like | candidates_like))
def test_no_body_makes_the_server_fail(answer: Answer, body: dict[str, Any]) -> None:
    for whole in (body, {"candidates": ["i1"]} | body, {"requests": [body]}):
        response = answer("/rank/batch" if "requests" in whole else "/rank", json.dumps(whole).encode())
        assert response.status_code in (200, 413, 422), response.text
