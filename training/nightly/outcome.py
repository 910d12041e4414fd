"""How a night ended, for programs (exit codes) and for people."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a night ended."""

    PUBLISHED = "published"
    CHAMPION_KEPT = "champion_kept"
    BAD_DATA = "bad_data"
    FAILED = "failed"
    ALREADY_RUNNING = "already_running"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> int:
        """What `ranker-train nightly` exits with."""
        return _EXIT_CODES[self]

    @property
    def final(self) -> bool:
        """Whether a second run of the same date has nothing left to do."""
        return self in (Outcome.PUBLISHED, Outcome.CHAMPION_KEPT)


_EXIT_CODES = {
    Outcome.PUBLISHED: 0,
    Outcome.FAILED: 1,
    Outcome.BAD_DATA: 2,
    Outcome.CHAMPION_KEPT: 3,
    Outcome.ALREADY_RUNNING: 4,
    Outcome.INTERRUPTED: 5,
}
