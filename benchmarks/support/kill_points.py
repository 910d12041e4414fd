"""Moments of a night at which to kill it, found from outside: by its log, by files that appear, by the clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.nightly import RunRecord

_POLL_SECONDS = 0.0005
# Hidden folders and files that live for some milliseconds, and how often one has to have come before it counts.
PARTIALS = {
    "encoder half written": ("run/.encoder.*.partial", 1),
    "checkpoint half written": ("run/checkpoints/.step-*.partial", 3),
    "bundle half written": ("run/.bundle.*.partial", 1),
    "copy in the registry half written": ("registry/versions/.*.partial", 1),
    "report half written": ("run/.report.html.*.partial", 1),
}
_MORE_IN_TRAINING = 5
_BY_THE_CLOCK = 2


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A moment.

    Attributes:
        name: For people.
        pattern: Files to wait for, `run/` or `registry/` in front; empty: none.
        times: How many different ones of them.
        logged: What to wait for in the log; empty: nothing.
        delay_seconds: To wait after that.
    """

    name: str
    pattern: str = ""
    times: int = 1
    logged: str = ""
    delay_seconds: float = 0.0

    def reached(self, run: Path, registry: Path, alive: Callable[[], bool]) -> bool:
        """Wait for the moment; False if the process ended before it."""
        seen: set[str] = set()
        while not self._happened(run, registry, seen):
            if not alive():
                return False
            time.sleep(_POLL_SECONDS)
        ends = time.monotonic() + self.delay_seconds
        while time.monotonic() < ends:
            if not alive():
                return False
            time.sleep(_POLL_SECONDS)
        return alive()

    def sooner(self) -> KillPoint:
        """The same with half the delay."""
        return KillPoint(self.name, self.pattern, self.times, self.logged, self.delay_seconds / 2)

    def _happened(self, run: Path, registry: Path, seen: set[str]) -> bool:
        if self.logged:
            return self.logged in log_of(run)
        if not self.pattern:
            return True
        base, _, pattern = self.pattern.partition("/")
        seen.update(path.name for path in (run if base == "run" else registry).glob(pattern))
        return len(seen) >= self.times


def log_of(run: Path) -> str:
    """What a run has logged so far."""
    try:
        return (run / "log.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def stage_begins(stage: str) -> str:
    """What the log says when a stage begins."""
    return f'"stage": "{stage}"'


def attempt_begins(number: int) -> str:
    """What the log says when an attempt begins."""
    return f'"attempt": {number}'


def draw(record: RunRecord, night_seconds: float, seed: int) -> list[KillPoint]:
    """Random moments, spread over all stages.

    Args:
        record: Of a night that nothing disturbed: how long its stages take.
        night_seconds: From the start of its process to its end.
        seed: The same gives the same moments.
    """
    chance = random.Random(seed)
    stages = [*record.stages, *[stage for stage in record.stages if stage.name == "train"] * _MORE_IN_TRAINING]
    found = [
        KillPoint(f"in {stage.name}", logged=stage_begins(stage.name), delay_seconds=chance.uniform(0, stage.seconds))
        for stage in stages
    ]
    found += [KillPoint(name, pattern, times) for name, (pattern, times) in PARTIALS.items()]
    found += [
        KillPoint("by the clock", delay_seconds=chance.uniform(0.2, 0.9) * night_seconds) for _ in range(_BY_THE_CLOCK)
    ]
    return found
