"""Reads of features, timed in the process that does them: requests come as lines on standard input."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Read = Callable[[list[str]], Mapping[str, Sequence[Any]]]


def answer(read: Read) -> None:
    """Answer each line, a JSON list of requests, with a line: milliseconds of each, and what the last one read.

    Args:
        read: From ids to values by column, in the order of the ids.
    """
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        milliseconds = []
        found: Mapping[str, Sequence[Any]] = {}
        for ids in json.loads(line):
            start = time.perf_counter()
            found = read(ids)
            milliseconds.append((time.perf_counter() - start) * 1e3)
        print(
            json.dumps({"milliseconds": milliseconds, "columns": {name: list(found[name]) for name in found}}),
            flush=True,
        )
