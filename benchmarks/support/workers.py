"""`ranker-serve run` with several workers, as processes that can be hurt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.memory import private_bytes

TOKEN = "a-token-for-benchmarks"
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Workers:
    """A running server.

    Attributes:
        supervisor: Its first process.
        url: Where it listens.
        log: What it has told.
    """

    supervisor: subprocess.Popen[bytes]
    url: str
    log: Path

    def pids(self) -> list[int]:
        """Its workers, by place; a single one is the first process itself."""
        newest = {line["worker"]: line["pid"] for line in self.lines() if line["message"] == "worker started"}
        return [pid for _, pid in sorted(newest.items())] or [self.supervisor.pid]

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def private_megabytes(self) -> float:
        """Memory that workers share with nobody, of all of them."""
        return sum(private_bytes(pid) for pid in self.pids()) / 1e6

    def activate(self, version: str) -> None:
        """Make a version current and live, as an admin does."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{self.url}/admin/models/{version}/activate"
        with urllib.request.urlopen(urllib.request.Request(url, method="POST", headers=headers), timeout=60):
            pass

    def stop(self) -> int:
        """Tell it to stop and wait until it has; its exit code."""
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
        return self.supervisor.wait(timeout=90)


@contextmanager
def serving(
    registry: Path, store: str, folder: Path, num_workers: int = 2, environment: Mapping[str, str] | None = None
) -> Iterator[Workers]:
    """Start a server on a free port and wait until it is ready; end all of it in the end.

    Args:
        registry: Of bundles.
        store: Of features, as the command line names it.
        folder: Where it may write: policies, item tables, its log.
        num_workers: How many.
        environment: Settings beside these.

    Raises:
        RuntimeError: It did not become ready; quotes its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "server.log"
    command = [sys.executable, "-m", "serving.cli", "run", "--registry", str(registry), "--store", store]
    command += ["--policies", f"sqlite:{folder / 'policies.sqlite'}", "--port", "0", "--workers", str(num_workers)]
    settings = {"RANKER_ADMIN_TOKEN": TOKEN, "RANKER_ACCESS_LOG": "false", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        variables = {**os.environ, **settings, **(environment or {})}
        supervisor = subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT)
        try:
            workers = Workers(supervisor, _ready(supervisor, log), log)
            yield workers
            workers.stop()
        finally:
            supervisor.kill()  # its workers notice
            supervisor.wait(timeout=60)


def _ready(supervisor: subprocess.Popen[bytes], log: Path) -> str:
    """Address of a server, once it can rank."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and supervisor.poll() is None:
        told = [json.loads(line) for line in log.read_text().splitlines() if '"listening"' in line]
        try:
            if told:
                with urllib.request.urlopen(f"{told[0]['url']}/readyz", timeout=5):
                    return str(told[0]["url"])
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the server did not become ready; its log:\n{log.read_text(errors='replace')[-4000:]}")
