"""Real Redis servers for the session, and a fresh store of each kind for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from feature_store import FeatureStore, parse_store
from tests.feature_store.servers import RedisCluster, RedisServer, memory_only

KINDS = ("lmdb", "redis", "cluster")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real, empty Redis server that lives as long as the tests; share it by key prefixes of your own."""
    server = memory_only(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Redis Cluster of three masters, likewise."""
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster.url
    cluster.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers that a test may stop or give options of its own."""
    servers: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        servers.append(memory_only(tmp_path, *options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(params=KINDS)
def store_text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that holds nothing yet, as on a command line; the test runs once per kind."""
    if request.param == "lmdb":
        return f"lmdb:{tmp_path / 'store'}"
    # A loaded machine may answer late; no test is about time.
    fields = f"key_prefix={uuid4().hex}&timeout_seconds=30&connect_timeout_seconds=30"
    return f"{request.getfixturevalue(f'{request.param}_url')}?{fields}"


@pytest_asyncio.fixture
async def store(store_text: str) -> AsyncIterator[FeatureStore]:
    """The store that `store_text` names."""
    async with parse_store(store_text).build() as opened:
        yield opened
