"""A real server as a child process, for whoever wants to call one over HTTP."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_START_SECONDS = 90.0


class Client:
    """Calls one server with JSON in and out.

    Args:
        url: Base address, `http://127.0.0.1:PORT`.
        token: Of the admin routes.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self._token = url, token

    def call(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Send one request and return the decoded answer.

        Raises:
            RuntimeError: The server answered with an error; quotes its problem document.
        """
        return self.exchange(method, path, body, headers)[0]

    def exchange(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """As `call`, with the answer's headers beside it."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self._token}",
                **(headers or {}),
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as exc:
            raise RuntimeError(f"{method} {path}: {exc.code} {exc.read().decode()}") from exc


@contextmanager
def running_server(registry: Path, store: str, policies: Path, token: str, log: Path) -> Iterator[Client]:
    """Start `ranker-serve` on a free port, wait until it is ready, and stop it in the end.

    Args:
        registry: Folder of published bundles.
        store: Feature store, like `lmdb:PATH` or `redis://HOST:PORT/0`.
        policies: SQLite file of the fusion policies.
        token: Of the admin routes.
        log: File that takes what the server prints.

    Raises:
        RuntimeError: The server did not become ready; quotes its log.
    """
    port = _free_port()
    command = [sys.executable, "-m", "serving.cli", "run", "--registry", str(registry), "--store", store]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    settings = {
        "RANKER_POLICIES__BACKEND": "sqlite",
        "RANKER_POLICIES__PATH": str(policies),
        "RANKER_ADMIN_TOKEN": token,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=output, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, log)
            yield Client(url, token)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"the server did not become ready; its log:\n{log.read_text(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
