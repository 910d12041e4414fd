"""What a view holds, counted row by row."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from feature_store.rows import read_header
from feature_store.view import ViewSchema


class ViewStats(NamedTuple):
    """What a view holds.

    Attributes:
        view: Name of the view.
        schema: Its current schema.
        num_rows: Rows that can be read, expired ones not counted.
        num_rows_of_older_schema: Those of them written with an earlier schema; they still read, with its columns.
        num_expired_rows: Rows that expired and still take space, until a sweep comes by.
        num_bytes: Size of the packed rows, without the keys and the store's own overhead.
        oldest_event_time: Unix seconds; None when no row has an event time.
        newest_event_time: Unix seconds; None when no row has an event time.
    """

    view: str
    schema: ViewSchema
    num_rows: int
    num_rows_of_older_schema: int
    num_expired_rows: int
    num_bytes: int
    oldest_event_time: float | None
    newest_event_time: float | None


class Tally:
    """Counts rows as they come.

    Args:
        schema: The view's current schema.
        now: Rows that expired by then are only counted as such; unix seconds.
    """

    def __init__(self, schema: ViewSchema, now: float) -> None:
        self._schema = schema
        self._now = now
        self._num_rows = self._num_older = self._num_expired = self._num_bytes = 0
        self._oldest, self._newest = math.inf, -math.inf

    def add(self, raws: Iterable[bytes]) -> None:
        """Count some packed rows."""
        for raw in raws:
            header = read_header(raw)
            if header.expires_at <= self._now:
                self._num_expired += 1
                continue
            self._num_rows += 1
            self._num_older += header.digest != self._schema.digest
            self._num_bytes += len(raw)
            if not math.isnan(header.event_time):
                self._oldest = min(self._oldest, header.event_time)
                self._newest = max(self._newest, header.event_time)

    def stats(self) -> ViewStats:
        """What was counted."""
        times = (self._oldest, self._newest) if self._newest > -math.inf else (None, None)
        counts = (self._num_rows, self._num_older, self._num_expired, self._num_bytes)
        return ViewStats(self._schema.view, self._schema, *counts, *times)
