"""What comes with a request beside its body: an id, a deadline, and a record of where its time went."""

from __future__ import annotations

from typing import NamedTuple

from serving.deadline import Deadline
from serving.timeline import Timeline


class Call(NamedTuple):
    """One call of the ranker."""

    request_id: str
    deadline: Deadline
    timeline: Timeline

    def member(self, number: int) -> Call:
        """The call of one request of a batch."""
        return self._replace(request_id=f"{self.request_id}.{number}")
