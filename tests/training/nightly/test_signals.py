"""The first signal is a wish, the second one ends the process; afterwards all is as before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training.nightly.signals import stop_on_signals

WAIT = """
import sys, time
from training.nightly.signals import stop_on_signals
with stop_on_signals(lambda: print("asked", flush=True)) as stop:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_asks(number: signal.Signals) -> None:
    told: list[str] = []
    before = signal.getsignal(number)
    with stop_on_signals(lambda: told.append("asked")) as stop:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        assert told == ["asked"]
        assert signal.getsignal(number) == before  # so that the second one acts
    assert signal.getsignal(number) == before


def test_the_second_ends_it(repository: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WAIT], stdout=subprocess.PIPE, text=True, cwd=repository) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "asked\n"
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM


def test_without_a_signal_all_is_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals(lambda: None):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
