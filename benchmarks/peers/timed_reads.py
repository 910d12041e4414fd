"""Reads of features, timed in the process that does them: requests come as lines on standard input."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Read = Callable[[list[str]], Mapping[str, Sequence[Any]]]


def answer(read: Read) -> None:
    """Answer each line, a JSON list of requests, with a line: how long each took, and what the last one read.

    Times are pairs of milliseconds: by the clock, and of the processor in this process.

    Args:
        read: From ids to values by column, in the order of the ids.
    """
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        times = []
        found: Mapping[str, Sequence[Any]] = {}
        for ids in json.loads(line):
            start = (time.perf_counter(), time.process_time())
            found = read(ids)
            times.append([(time.perf_counter() - start[0]) * 1e3, (time.process_time() - start[1]) * 1e3])
        print(json.dumps({"times": times, "columns": {name: list(found[name]) for name in found}}), flush=True)
