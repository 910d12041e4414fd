"""What was ranked and what came of it, as Parquet files that the next training reads."""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from serving.decoding import decode
from serving.errors import LogFull, NotConfigured
from serving.metrics import Metrics
from serving.schemas import Feedback, FeedbackBody, RankRequest
from serving.settings import RequestLogSettings

logger = logging.getLogger(__name__)

_DECODER: msgspec.json.Decoder[Feedback | list[Feedback]] = msgspec.json.Decoder(FeedbackBody)
_TIME = pa.timestamp("us", tz="UTC")
FEEDBACK = pa.schema(
    [("request_id", pa.string()), ("item_id", pa.string()), ("event", pa.string()), ("timestamp", _TIME)]
)
RANKINGS = pa.schema(
    [
        ("request_id", pa.string()),
        ("timestamp", _TIME),
        ("scene", pa.string()),
        ("user_id", pa.string()),
        ("context", pa.string()),  # JSON: its names and types are the model's
        ("model_version", pa.string()),
        ("policy_version", pa.int64()),
        ("degraded", pa.list_(pa.string())),
        ("item_ids", pa.list_(pa.string())),  # best first
        ("scores", pa.list_(pa.float64())),
    ]
)


class Segments:
    """Rows of one kind, gathered in memory and written as files that are whole from the moment they have their name.

    Any thread may add. A kill loses at most what came since the last flush.
    """

    def __init__(self, folder: Path, schema: pa.Schema, max_pending: int, metrics: Metrics) -> None:
        self._folder = folder
        self._schema = schema
        self._max_pending = max_pending
        self._metrics = metrics
        self._rows: list[Mapping[str, Any]] = []
        self._pending = 0
        self._lock = threading.Lock()  # guards `_rows` and `_pending`
        self._writing = threading.Lock()  # one file at a time

    def add(self, rows: Sequence[Mapping[str, Any]], size: int) -> None:
        """Take rows in.

        Args:
            rows: By column of the schema.
            size: How many events or ranked items they hold.

        Raises:
            LogFull: As many wait as may: the disk does not take them. Nothing was taken in.
        """
        with self._lock:
            if self._rows and self._pending + size > self._max_pending:
                raise LogFull(
                    f"{self._pending} events wait to be written to '{self._folder}'; send these again later, "
                    "and look at the disk or raise RANKER_REQUEST_LOG__MAX_PENDING"
                )
            self._rows.extend(rows)
            self._pending += size

    def flush(self) -> None:
        """Write what waits as one file. Rows that cannot be written wait on."""
        with self._writing:
            with self._lock:
                rows, pending = self._rows[:], self._pending
            if not rows or not self._write(rows):
                return
            with self._lock:
                del self._rows[: len(rows)]
                self._pending -= pending
            self._metrics.events.labels(self._folder.name).inc(len(rows))

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}-{secrets.token_hex(3)}.parquet"
        partial = self._folder / f".{name}.partial"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(list(rows), self._schema), partial)
            os.replace(partial, self._folder / name)
        except OSError as exc:
            self._metrics.log_failures.inc()
            logger.error("request log cannot be written", extra={"folder": str(self._folder), "reason": str(exc)})
            with suppress(OSError):  # a failing disk may not even let go of what is not there
                partial.unlink(missing_ok=True)
            return False
        return True


class RequestLog:
    """Feedback and rankings, where a folder for them is set."""

    def __init__(self, settings: RequestLogSettings, metrics: Metrics) -> None:
        self._feedback: Segments | None = None
        self._rankings: Segments | None = None
        self._metrics = metrics
        if settings.path is not None:
            settings.path.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is known at once
            self._feedback = Segments(settings.path / "feedback", FEEDBACK, settings.max_pending, metrics)
            if settings.rankings:
                self._rankings = Segments(settings.path / "rankings", RANKINGS, settings.max_pending, metrics)

    def feedback_body(self, body: bytes) -> int:
        """Take in the events of a request body; how many there were.

        Raises:
            InvalidRequest: The body is no event and no list of events. For the rest see `feedback`.
        """
        decoded = decode(body, _DECODER)
        events = decoded if isinstance(decoded, list) else [decoded]
        self.feedback(events)
        return len(events)

    def feedback(self, events: Sequence[Feedback]) -> None:
        """Take events in.

        Raises:
            NotConfigured: No folder is set.
            LogFull: The disk does not take them.
        """
        if self._feedback is None:
            raise NotConfigured(
                "this server keeps no feedback; set RANKER_REQUEST_LOG__PATH to a folder and restart it"
            )
        now = datetime.now(UTC)
        rows = [
            {
                "request_id": event.request_id,
                "item_id": str(event.item_id),
                "event": event.event,
                "timestamp": _moment(event.timestamp, now),
            }
            for event in events
        ]
        self._feedback.add(rows, len(rows))

    def ranked(self, request: RankRequest, answer: Mapping[str, Any]) -> None:
        """Note a ranking. One that finds the log full is counted and dropped: ranking goes on without its log."""
        if self._rankings is None:
            return
        row = {
            "request_id": answer["request_id"],
            "timestamp": datetime.now(UTC),
            "scene": answer["scene"],
            "user_id": None if request.user_id is None else str(request.user_id),
            "context": json.dumps(request.context),
            "model_version": answer["model_version"],
            "policy_version": answer["policy_version"],
            "degraded": answer["degraded"],
            "item_ids": [str(entry["item_id"]) for entry in answer["ranking"]],
            "scores": [entry["score"] for entry in answer["ranking"]],
        }
        try:
            self._rankings.add([row], 1 + len(answer["ranking"]))
        except LogFull:
            self._metrics.log_failures.inc()

    def flush(self) -> None:
        """Write everything that waits. Blocks; called from a thread."""
        for segments in (self._feedback, self._rankings):
            if segments is not None:
                segments.flush()


def _moment(timestamp: datetime | float | None, now: datetime) -> datetime:
    if timestamp is None:
        return now
    return timestamp if isinstance(timestamp, datetime) else datetime.fromtimestamp(timestamp, UTC)
