"""What callers of a server see while something happens to it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from serving.bench.connections import NO_ANSWER, Reply

_OK = 200


class Seen(NamedTuple):
    """What callers saw from the moment of a fault on.

    Attributes:
        requests: Answered or not, from then on.
        ranked: Share of them that got a ranking, degraded or not.
        abnormal: How many got what: a status, a reason in `degraded`, or no answer and why.
        normal_after_seconds: From the fault to the last answer that was not normal; 0: all were.
        other_answers: Rankings that are not what the version that they name gives: mixed up.
    """

    requests: int
    ranked: float
    abnormal: Mapping[str, int]
    normal_after_seconds: float
    other_answers: int


@dataclass(slots=True)
class Watch:
    """Takes down every reply of a load. Normal is a ranking with nothing in `degraded`.

    Attributes:
        expected: By version and probe (its `request_id`), the scores that a whole answer has; empty: not looked at.
    """

    expected: Mapping[tuple[str, str], list[float]] = field(default_factory=dict)
    _entries: list[tuple[float, int, tuple[str, ...], bool]] = field(default_factory=list)

    def __call__(self, reply: Reply) -> None:
        """One more reply."""
        reasons: tuple[str, ...] = ()
        other = False
        if reply.status == _OK:
            answer = orjson.loads(reply.body)
            reasons = tuple(answer["degraded"])
            scores = self.expected.get((answer["model_version"], answer["request_id"]))
            other = scores is not None and [entry["score"] for entry in answer["ranking"]] != scores
        elif reply.status == NO_ANSWER:
            reasons = (reply.body.decode(),)
        else:
            reasons = (str(reply.status),)
        self._entries.append((time.perf_counter(), reply.status, reasons, other))

    def since(self, moment: float) -> Seen:
        """What was seen from a moment (of the performance counter) on."""
        entries = [entry for entry in self._entries if entry[0] >= moment]
        abnormal = [entry for entry in entries if entry[2]]
        return Seen(
            len(entries),
            sum(status == _OK for _, status, _, _ in entries) / max(1, len(entries)),
            dict(Counter(reason for _, _, reasons, _ in abnormal for reason in reasons)),
            round(max((at for at, *_ in abnormal), default=moment) - moment, 2),
            sum(other for *_, other in entries),
        )
