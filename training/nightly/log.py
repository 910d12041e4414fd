"""What a night says: lines and bars for people, one JSON object a line in the run's folder for programs."""

from __future__ import annotations

import json
import math
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from training.history import Epoch
from training.progress import Progress

LOG = "log.jsonl"


class NightLog(Progress):
    """Tells people and programs the same.

    Args:
        as_json: Write the JSON lines to standard error too, in place of text: for log collectors.
        quiet: Say nothing, as on all processes but the first.
    """

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        super().__init__(Console(stderr=True, quiet=quiet or as_json))
        self.as_json, self.quiet = as_json, quiet
        self._path: Path | None = None
        self._always: dict[str, str] = {}

    def open(self, folder: Path, **always: str) -> None:
        """Write to `folder/log.jsonl` from now on, after what stands there.

        Args:
            folder: The run's.
            always: Fields of every line, like the date.
        """
        self._path, self._always = folder / LOG, always
        if not _ends_with_a_line(self._path):  # the disk was full, or the power went
            self._append("\n")

    def say(self, text: str) -> None:
        """One line about the work in hand."""
        self._tell("info", "progress", text)

    def event(self, name: str, text: str, **fields: Any) -> None:
        """Something that programs may wait for.

        Args:
            name: Of the event, a few words in snake_case; never changes.
            text: The same for people.
            fields: JSON values.
        """
        self._tell("info", name, text, **fields)

    def warn(self, name: str, text: str, **fields: Any) -> None:
        """Something that someone should look at, though the night goes on."""
        self._tell("warning", name, text, **fields)

    def error(self, name: str, text: str, **fields: Any) -> None:
        """Why the night ends."""
        self._tell("error", name, text, **fields)

    def epoch(self, epoch: Epoch, best: bool) -> None:
        """One line an epoch, with its figures."""
        self._write(
            "info", "epoch", {"epoch": epoch.number, "best": best, "losses": epoch.losses, "valid": epoch.valid}
        )
        if self.as_json:
            return
        with_text, self._path = self._path, None  # the text says the same
        try:
            super().epoch(epoch, best)
        finally:
            self._path = with_text

    def _tell(self, level: Literal["info", "warning", "error"], name: str, text: str, **fields: Any) -> None:
        styles = {"info": "", "warning": "yellow", "error": "bold red"}
        prefix = "" if level == "info" else f"{level}: "
        self.console.print(f"{prefix}{text}", style=styles[level], highlight=False, soft_wrap=True, markup=False)
        self._write(level, name, {"message": text, **fields})

    def _write(self, level: str, name: str, fields: dict[str, Any]) -> None:
        if self.quiet:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        content = {"time": now, "level": level, "event": name, **self._always, **fields}
        line = json.dumps(_finite(content), allow_nan=False) + "\n"
        if self.as_json:
            sys.stderr.write(line)
        if self._path is not None:
            self._append(line)

    def _append(self, text: str) -> None:
        """Write to the file; one that cannot be written is given up and said so, the night goes on."""
        assert self._path is not None
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            path, self._path = self._path, None
            self.warn("log_unwritable", f"'{path}' cannot be written: {error.strerror}; no more lines go there")


def _finite(value: Any) -> Any:
    """The same with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value


def _ends_with_a_line(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"
    except OSError:
        return True
