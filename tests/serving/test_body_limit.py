"""Bodies that are too large go no further, announced or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from serving.body_limit import BodyLimit
from tests.serving.conftest import ADMIN, World


async def pieces(num_bytes: int) -> AsyncIterator[bytes]:
    """A body whose size nobody announces."""
    for _ in range(num_bytes // 256):
        yield b" " * 256


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("method", "path"), [("POST", "/rank"), ("PUT", "/admin/policies/home"), ("POST", "/nowhere")])
async def test_a_large_body_answers_413(world: World, method: str, path: str, announced: bool) -> None:
    async with world.serve(limits={"max_body_bytes": 1024}) as client:
        content = b" " * 1280 if announced else pieces(1280)
        response = await client.request(method, path, content=content, headers=ADMIN)
        assert response.status_code == 413
        assert response.headers["content-type"] == "application/problem+json"
        assert "RANKER_LIMITS__MAX_BODY_BYTES" in response.json()["detail"]


async def test_a_body_at_the_limit_passes_in_pieces(world: World) -> None:
    async with world.serve(limits={"max_body_bytes": 1024}) as client:
        body = b'{"candidates": ["i1"]}'.ljust(1024)

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 100):
                yield body[start : start + 100]

        assert (await client.post("/rank", content=parts())).status_code == 200


async def test_a_caller_who_leaves_gets_no_answer() -> None:
    async def app(*_: object) -> None:
        pytest.fail("the application must not run")

    async def leave() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        pytest.fail("nobody is there to answer")

    await BodyLimit(app, 10, 5.0)({"type": "http", "headers": []}, leave, send)


async def test_a_body_that_does_not_arrive_answers_408(world: World) -> None:
    async def begins() -> AsyncIterator[bytes]:
        yield b'{"candidates": '
        await asyncio.sleep(60)

    async with world.serve(limits={"body_timeout_seconds": 0.05}) as client:
        response = await client.post("/rank", content=begins())
        assert response.status_code == 408
        assert response.headers["connection"] == "close"
        assert "0.05 s" in response.json()["detail"]
