"""Structured logs: one JSON object per line on stderr."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

# What every record has; all else on it came through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_encode = json.JSONEncoder(default=str).encode  # `json.dumps` would make a new encoder for every line


class JsonFormatter(logging.Formatter):
    """A record as JSON: time, level, logger, message, whatever `extra` brought, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)


def configure(level: str = "INFO") -> None:
    """Send the logs of this process to stderr as JSON. For programs; a library never does this."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)  # those of libraries would be lines of plain text
    logging.getLogger("uvicorn.access").disabled = True  # this server writes its own access log
