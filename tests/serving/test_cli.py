"""`ranker-serve`: the real program, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from typer.testing import CliRunner

from serving import Settings
from serving.cli import app
from tests.serving.conftest import ADMIN, CANDIDATES, CONTEXT, TOKEN, World, eventually, offline

BODY = {"user_id": "u1", "context": CONTEXT, "candidates": CANDIDATES}


def started(command: list[str], stderr: IO[bytes], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The program as a process; it looks at the registry often."""
    return subprocess.Popen(command, stderr=stderr, env={**os.environ, "RANKER_POLL_SECONDS": "0.05", **environment})


@asynccontextmanager
async def program(
    world: World, *options: str, **environment: str
) -> AsyncIterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """A server process, its address, and its log."""
    log = world.folder / "server.log"
    command = [sys.executable, "-m", "serving.cli", "run", "--port", "0", *options]
    with log.open("wb") as stderr:
        server = await asyncio.to_thread(started, command, stderr, environment)
    try:
        address = ""

        async def listening() -> bool:
            nonlocal address
            assert server.poll() is None, log.read_text()
            found = re.search(r'"listening".*"url": "(http://[0-9.:]+)"', log.read_text())
            address = found[1] if found else ""
            return bool(found)

        await eventually(listening)
        yield server, address, log
    finally:
        if server.poll() is None:
            server.kill()
        server.wait(timeout=60)


def where(world: World) -> list[str]:
    """Options that say where everything is."""
    return [
        *("--registry", str(world.folder / "registry"), "--store", world.store_text),
        *("--policies", f"sqlite:{world.folder / 'policies.sqlite'}"),
    ]


async def test_it_serves_swaps_and_stops_cleanly(world: World) -> None:
    expected = offline(world.registry.load("v1"), "u1", CONTEXT, CANDIDATES)["ctr"]
    log_folder = world.folder / "log"
    environment = {"RANKER_ADMIN_TOKEN": TOKEN, "RANKER_REQUEST_LOG__PATH": str(log_folder)}
    async with program(world, *where(world), **environment) as (server, address, log):
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            answer = (await client.post("/rank", json=BODY)).json()
            found = {entry["item_id"]: entry["outputs"]["ctr"] for entry in answer["ranking"]}
            assert [found[item] for item in CANDIDATES] == pytest.approx(expected.tolist(), abs=1e-6)
            update = {"terms": [{"output": "ctr", "weight": 1.0}], "author": "ann"}
            assert (await client.put("/admin/policies/default", json=update, headers=ADMIN)).status_code == 200
            assert (await client.post("/rank", json=BODY)).json()["policy_version"] == 1
            await asyncio.to_thread(world.publish, "v2", 2)

            async def swapped() -> bool:
                return bool((await client.post("/rank", json=BODY)).json()["model_version"] == "v2")

            await eventually(swapped)
            assert (
                await client.post("/feedback", json={"request_id": "r", "item_id": 1, "event": "click"})
            ).status_code == 202
        server.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, 60) == 0
        assert list((log_folder / "feedback").glob("*.parquet"))
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert any(line["message"] == "model is live" and line["version"] == "v2" for line in lines)
        assert any(line["logger"] == "serving.access" and line["path"] == "/rank" for line in lines)
        assert not any("traceback" in line for line in lines)


async def test_accepted_requests_are_answered_before_it_stops(world: World) -> None:
    async with program(world, *where(world)) as (server, address, _), httpx.AsyncClient(timeout=60) as client:
        await client.get(f"{address}/healthz")
        many = {"candidates": list(range(10_000)), "top_k": 1}
        requests = [asyncio.create_task(client.post(f"{address}/rank", json=many)) for _ in range(6)]

        async def accepted() -> bool:
            text = (await client.get(f"{address}/metrics")).text
            return "ranker_rankings_total 1.0" in text or any(request.done() for request in requests)

        await eventually(accepted)
        server.send_signal(signal.SIGTERM)
        responses = await asyncio.gather(*requests, return_exceptions=True)
        # Those whose connection was not yet accepted are refused; none is left without an answer in the middle.
        for response in responses:
            assert isinstance(response, httpx.ConnectError) or (
                isinstance(response, httpx.Response) and response.status_code == 200
            )
        assert await asyncio.to_thread(server.wait, 60) == 0


async def test_the_environment_alone_is_enough(world: World, redis_url: str) -> None:
    environment = {
        "RANKER_REGISTRY": str(world.folder / "registry"),
        "RANKER_STORE__BACKEND": "redis",
        "RANKER_STORE__URL": redis_url,
        "RANKER_STORE__KEY_PREFIX": "environment-alone",
        "RANKER_POLICIES__BACKEND": "redis",
        "RANKER_POLICIES__URL": redis_url,
        "RANKER_LIMITS__MAX_CANDIDATES": "3",
    }
    async with program(world, **environment) as (_, address, _), httpx.AsyncClient(timeout=60) as client:
        response = await client.get(f"{address}/readyz")
        assert response.status_code == 503
        assert "has no view 'user'" in response.json()["detail"]
        assert (await client.post(f"{address}/rank", json=BODY)).status_code == 413


def invoke(*arguments: str, env: dict[str, str | None] | None = None) -> Any:
    """What the program says, run in this process."""
    return CliRunner().invoke(app, arguments, env=env, catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (["run"], {}, "RANKER_REGISTRY"),
        (["run", "--registry", "r"], {}, "RANKER_STORE"),
        (["run", "--registry", "r"], {"RANKER_STORE__BACKEND": "ldmb"}, "'lmdb', 'redis'"),
        (["run", "--registry", "r", "--store", "lmdb:"], {}, "lmdb:PATH"),
        (["run", "--registry", "r", "--store", "mysql://x"], {}, "lmdb:PATH"),
        (["run", "--registry", "r", "--store", "lmdb:f", "--policies", "sqlite:"], {}, "sqlite:PATH"),
        (["run", "--registry", "r", "--store", "lmdb:f"], {"RANKER_LIMITS__MAX_CANDIDATES": "0"}, "MAX_CANDIDATES"),
        (["run", "--registry", "r", "--store", "lmdb:f"], {"RANKER_LIMITS__MAX_CANDIDATE": "5"}, "MAX_CANDIDATE"),
        (["run", "--registry", "r", "--store", "lmdb:f", "--log-level", "loud"], {}, "loud"),
        (
            ["run", "--registry", "r", "--store", "lmdb:f"],
            {"RANKER_REQUEST_LOG__PATH": "/dev/null/x"},
            "REQUEST_LOG__PATH",
        ),
        (["run", "--registry", "r", "--store", "lmdb:f", "--port", "70000"], {}, "--port"),
    ],
)
def test_bad_settings_end_with_code_2_and_name_the_setting(
    arguments: list[str], env: dict[str, str | None], words: str
) -> None:
    result = invoke(*arguments, env=env)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_options_replace_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def serve(settings: Settings, *_: object) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr("serving.cli.serve", serve)
    monkeypatch.setattr("serving.logs.configure", lambda _: None)
    env = {"RANKER_STORE__BACKEND": "redis", "RANKER_STORE__URL": "redis://h:1/0", "RANKER_REGISTRY": "elsewhere"}
    result = invoke("run", "--registry", "here", "--store", "lmdb:features", "--port", "0", env=dict(env))
    assert result.exit_code == 0, result.output
    assert str(seen[0].registry) == "here"
    assert seen[0].store.backend == "lmdb"
    assert "elsewhere" not in repr(seen[0])


def test_the_openapi_document_is_printed() -> None:
    result = invoke("openapi")
    assert result.exit_code == 0
    assert "/rank" in json.loads(result.output)["paths"]


def test_help_shows_examples() -> None:
    for arguments in (["--help"], ["run", "--help"]):
        result = invoke(*arguments)
        assert result.exit_code == 0
    assert "ranker-serve run --registry registry" in result.output
