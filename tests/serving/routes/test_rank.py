"""`POST /rank` is recognised before FastAPI looks among all routes, and nothing else is."""

from __future__ import annotations

import pytest
from starlette.routing import Match

from serving.routes import RankRoute
from tests.serving.conftest import World


@pytest.mark.parametrize(
    ("kind", "method", "path", "expected"),
    [
        ("http", "POST", "/rank", Match.FULL),
        ("http", "GET", "/rank", Match.NONE),
        ("http", "POST", "/rank/", Match.NONE),
        ("http", "POST", "/rank/batch", Match.NONE),
        ("lifespan", "POST", "/rank", Match.NONE),
    ],
)
def test_one_path_and_method(kind: str, method: str, path: str, expected: Match) -> None:
    route = RankRoute()
    match, changes = route.matches({"type": kind, "method": method, "path": path})
    assert match is expected
    assert changes == ({"route": route} if expected is Match.FULL else {})


async def test_rankings_and_refusals_are_counted_under_its_path(world: World) -> None:
    async with world.serve() as client:
        answers = [
            await client.post("/rank", json={"scene": "home", "user_id": "u1", "candidates": candidates})
            for candidates in (["i1", "i2"], [])
        ]
        assert [answer.status_code for answer in answers] == [200, 422]
        lines = (await client.get("/metrics")).text.splitlines()
    counts = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if "requests_total{" in line}
    for status in ("200", "422"):
        assert counts[f'ranker_requests_total{{method="POST",route="/rank",status="{status}"}}'] == 1
