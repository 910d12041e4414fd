"""Resident memory of this process over a run, phase by phase."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SAMPLE_SECONDS = 0.2
_MAX_POINTS = 400  # kept of each run


class Phase:
    """A part of a run; its clocks run until it ends."""

    def __init__(self) -> None:
        self._started, self._cpu = time.perf_counter(), time.process_time()
        self._ended: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        """Since the phase began, or that it took."""
        return (self._ended[0] if self._ended else time.perf_counter()) - self._started

    @property
    def cpu_seconds(self) -> float:
        """Of all threads."""
        return (self._ended[1] if self._ended else time.process_time()) - self._cpu

    def end(self) -> None:
        """Stop the clocks."""
        self._ended = time.perf_counter(), time.process_time()


class MemoryCurve:
    """Samples resident memory in a background thread. Linux only.

    Attributes:
        rows_read: Set by whoever reads; sampled beside the memory.
    """

    def __init__(self) -> None:
        self.rows_read = 0
        self.megabytes: list[float] = []
        self._rows: list[int] = []
        self._phases: list[str] = []
        self._phase = "start"
        self._stop = threading.Event()

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Sample until the block is left."""
        thread = threading.Thread(target=self._sample, name="memory", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """Name what happens in the block, and time it."""
        self._phase, phase = name, Phase()
        try:
            yield phase
        finally:
            phase.end()

    def to_dict(self) -> dict[str, list[Any]]:
        """Every n-th sample: phase, rows read, megabytes."""
        every = -(-len(self.megabytes) // _MAX_POINTS)
        return {
            "phase": self._phases[::every],
            "rows_read": self._rows[::every],
            "megabytes": [round(value, 1) for value in self.megabytes[::every]],
        }

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS if self.megabytes else 0):
            self.megabytes.append(resident_megabytes())
            self._rows.append(self.rows_read)
            self._phases.append(self._phase)


def resident_megabytes() -> float:
    """Memory of this process that is not swapped out, in units of 1,000,000 bytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
