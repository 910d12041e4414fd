"""How long a caller waits for an answer: what is past that moment is not worked on any more."""

from __future__ import annotations

from time import monotonic
from typing import NamedTuple

from serving.errors import DeadlineExceeded, FieldError, InvalidRequest

HEADER = "X-Request-Timeout-Ms"
_LONGEST_MS = 600_000


class Deadline(NamedTuple):
    """The moment after which nobody waits for an answer.

    Attributes:
        at: Of the monotonic clock, in seconds.
        timeout_ms: How long after the request came in that is.
    """

    at: float
    timeout_ms: int

    @classmethod
    def begin(cls, header: str | None, default_ms: int) -> Deadline:
        """The deadline of a request that comes in now.

        Args:
            header: What `X-Request-Timeout-Ms` says; `None` if the request has none.
            default_ms: Of requests without.

        Raises:
            InvalidRequest: The header is no whole number from 1 to 600,000.
        """
        milliseconds = default_ms if header is None else _milliseconds(header)
        return cls(monotonic() + milliseconds / 1000, milliseconds)

    def remaining(self) -> float:
        """Seconds that are left; zero or less when it is over."""
        return self.at - monotonic()

    def check(self) -> None:
        """Let work go on that somebody still waits for.

        Raises:
            DeadlineExceeded: It is over.
        """
        if self.remaining() <= 0:
            raise self.exceeded()

    def exceeded(self) -> DeadlineExceeded:
        """The error of a request that took longer."""
        return DeadlineExceeded(
            f"no ranking within {self.timeout_ms} ms, time in the queue included; send the request again later, "
            f"send fewer candidates, or wait longer ({HEADER}, RANKER_LIMITS__TIMEOUT_MS)"
        )


def _milliseconds(header: str) -> int:
    # A cheap test first: `int` takes signs, spaces, underscores and digits of any script.
    if header.isascii() and header.isdecimal() and len(header) < 10 and 1 <= int(header) <= _LONGEST_MS:
        return int(header)
    fix = f"send a whole number of milliseconds from 1 to {_LONGEST_MS}, or leave it out"
    raise InvalidRequest(FieldError(HEADER, "must be a number of milliseconds", fix, header))
