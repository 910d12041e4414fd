"""Metrics and logs: what happened can be counted, and found again."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.logs import JsonFormatter
from serving.metrics import Metrics
from tests.serving.conftest import World

BODY: dict[str, Any] = {"user_id": "nobody", "candidates": ["i1", "i2", "gone"]}


async def samples(client: object) -> dict[str, float]:
    """All samples of /metrics by name and labels."""
    import httpx

    assert isinstance(client, httpx.AsyncClient)
    text = (await client.get("/metrics")).text
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_requests_and_rankings_are_counted(world: World) -> None:
    async with world.serve() as client:
        await client.post("/rank", json=BODY)
        await client.post("/rank", json={"candidates": []})
        for n in range(20):
            await client.get(f"/no/such/{n}")
        await client.request("BREW", "/rank")
        found = await samples(client)
        assert found["ranker_requests_total[('method', 'POST'), ('route', '/rank'), ('status', '200')]"] == 1
        assert found["ranker_requests_total[('method', 'POST'), ('route', '/rank'), ('status', '422')]"] == 1
        assert found["ranker_requests_total[('method', 'GET'), ('route', 'unmatched'), ('status', '404')]"] == 20
        assert not any("BREW" in name or "/no/such" in name for name in found)
        assert found["ranker_rankings_total[]"] == 1
        assert found["ranker_candidates_total[]"] == 3
        assert found["ranker_missing_items_total[]"] == 1
        assert found["ranker_missing_users_total[]"] == 1
        assert found["ranker_model_info[('version', 'v1')]"] == 1
        assert found["ranker_stage_seconds_count[('stage', 'decode')]"] == 2  # what was refused, too
        for stage in ("features", "encode", "queue", "score", "fuse", "serialise"):
            assert found[f"ranker_stage_seconds_count[('stage', '{stage}')]"] == 1


async def test_a_sample_shows_outputs_and_missing_features(world: World) -> None:
    async with world.serve() as client:
        for _ in range(17):
            await client.post("/rank", json=BODY | {"context": {"hour": 3}})
        found = await samples(client)
    assert found["ranker_sampled_candidates_total[]"] == 2 * len(BODY["candidates"])
    for output in ("ctr", "cvr", "ctcvr", "dwell"):
        assert found[f"ranker_output_count[('output', '{output}')]"] == 2 * len(BODY["candidates"])
    absent = {name: found.get(f"ranker_missing_features_total[('feature', '{name}')]", 0) for name in ("hour", "age")}
    assert absent == {"hour": 0, "age": 6}
    assert found["ranker_missing_features_total[('feature', 'price')]"] == 2  # of "gone"


async def test_each_request_has_an_id_and_a_log_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.serve() as client:
        caplog.set_level(logging.INFO, logger="serving.access")
        named = await client.post("/rank", json=BODY, headers={"X-Request-Id": "abc-1"})
        assert named.headers["x-request-id"] == named.json()["request_id"] == "abc-1"
        odd = await client.post("/rank", json=BODY, headers={"X-Request-Id": "a b\tc"})
        assert odd.headers["x-request-id"] == odd.json()["request_id"] != "a b\tc"
        (record,) = [r for r in caplog.records if getattr(r, "request_id", None) == "abc-1"]
        line = json.loads(JsonFormatter().format(record))
        assert (line["path"], line["status"], line["method"]) == ("/rank", 200, "POST")
        assert line["milliseconds"] > 0


async def test_the_access_log_can_be_turned_off(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async with world.serve(access_log=False) as client:
        caplog.set_level(logging.INFO)
        await client.post("/rank", json=BODY)
        assert not [record for record in caplog.records if record.name == "serving.access"]


async def test_a_bug_answers_a_problem_and_tells_the_log(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Metrics) -> bytes:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Metrics, "exposition", broken)
    async with world.serve() as client:
        response = await client.get("/metrics")
        assert response.status_code == 500
        assert response.headers["content-type"] == "application/problem+json"
        assert "secret" not in response.text
        (record,) = [record for record in caplog.records if record.message == "unhandled error"]
        assert "ZeroDivisionError: secret" in json.loads(JsonFormatter().format(record))["traceback"]


def test_two_servers_in_one_process_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.rankings.inc()
    assert two.registry.get_sample_value("ranker_rankings_total") == 0


def test_only_the_live_model_is_shown() -> None:
    metrics = Metrics()
    for version in ("v1", "v2"):
        metrics.model_live(version)
    assert metrics.registry.get_sample_value("ranker_model_info", {"version": "v1"}) is None
    assert metrics.registry.get_sample_value("ranker_model_info", {"version": "v2"}) == 1
