"""What became of the requests of one run, and what that comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from serving.bench.connections import NO_ANSWER, Reply
from serving.errors import OK, OVERLOADED

_PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9, 100.0)


class Summary(NamedTuple):
    """One run in figures.

    Attributes:
        offered_per_second: Requests that were to be sent.
        ranked_per_second: Rankings that came back, in the time until the last had.
        answers: How many requests got each status; without an answer, why.
        ranked_ms: Percentiles of the time to a ranking, from the moment when its request was to be sent.
        refused_ms: The same of 503 answers.
        busy: Share of the time in which the load generator itself was at work; near 1 the figures are its own.
    """

    offered_per_second: float
    ranked_per_second: float
    answers: Mapping[str, int]
    ranked_ms: Mapping[str, float]
    refused_ms: Mapping[str, float]
    busy: float


@dataclass(slots=True)
class Outcomes:
    """Every request of a run: its status, and how long it took from when it was to be sent.

    Percentiles are of all of them: no buckets, no sample.
    """

    milliseconds: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, reply: Reply, seconds: float) -> None:
        """One more."""
        self.statuses.append(reply.status)
        self.milliseconds.append(seconds * 1000)
        if reply.status == NO_ANSWER:
            self.failures[reply.body.decode()] += 1

    def summary(self, seconds: float, until_last_seconds: float, busy: float) -> Summary:
        """What it comes to.

        Args:
            seconds: How long requests were sent.
            until_last_seconds: From the beginning to the last answer.
            busy: Share of that time in which the load generator was at work.
        """
        answered = Counter(str(status) for status in self.statuses if status != NO_ANSWER)
        return Summary(
            round(len(self.statuses) / seconds, 2),
            round(self.statuses.count(OK) / until_last_seconds, 2),
            dict(sorted((answered + self.failures).items())),
            self._percentiles(OK),
            self._percentiles(OVERLOADED),
            round(busy, 3),
        )

    def _percentiles(self, status: int) -> dict[str, float]:
        taken = np.array(self.milliseconds)[np.array(self.statuses, dtype=np.int64) == status]
        if not len(taken):
            return {}
        values = np.percentile(taken, _PERCENTILES)
        return {f"p{p:g}": round(float(value), 3) for p, value in zip(_PERCENTILES, values, strict=True)}
