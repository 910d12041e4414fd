"""What a fault's table is made of: replies counted by what was wrong with them, and when that ended."""

from __future__ import annotations

import json
import time
from typing import Any

import orjson

from benchmarks.faults import _markdown
from benchmarks.support.fault_kinds import FAULTS
from benchmarks.support.results import RESULTS
from benchmarks.support.watch import Watch
from serving.bench.connections import NO_ANSWER, Reply


def ranking(*degraded: str, version: str = "a", scores: tuple[float, ...] = (0.5, 0.25)) -> Reply:
    """A ranking as a server answers it."""
    places = [{"item_id": f"i{n}", "score": score} for n, score in enumerate(scores)]
    answer = {"model_version": version, "request_id": "r1", "ranking": places, "degraded": list(degraded)}
    return Reply(200, orjson.dumps(answer))


def test_only_what_came_since_counts() -> None:
    watch = Watch()
    watch(Reply(503, b""))
    moment = time.perf_counter()
    for reply in (ranking(), ranking("stale"), Reply(503, b""), Reply(NO_ANSWER, b"timeout"), ranking()):
        watch(reply)
    seen = watch.since(moment)
    assert (seen.requests, seen.ranked) == (5, 0.6)
    assert seen.abnormal == {"stale": 1, "503": 1, "timeout": 1}
    assert seen.other_answers == 0


def test_a_fault_that_nobody_saw_took_no_time() -> None:
    watch = Watch()
    moment = time.perf_counter()
    watch(ranking())
    assert watch.since(moment).normal_after_seconds == 0


def test_an_answer_of_another_version_is_mixed_up() -> None:
    watch = Watch({("a", "r1"): [0.5, 0.25], ("b", "r1"): [0.5, 0.125]})
    for reply in (ranking(), ranking(version="b", scores=(0.5, 0.125)), ranking(version="b"), ranking(version="c")):
        watch(reply)
    assert watch.since(0.0).other_answers == 1


def test_the_table_has_a_line_for_each_fault() -> None:
    rows: list[dict[str, Any]] = [
        {"fault": "one", "requests": 9, "abnormal": {"503": 2}, "normal_after_seconds": 1.25, "note": "so"},
        {"fault": "two", "note": "not tried: needs root"},
    ]
    assert _markdown(rows).splitlines()[2:] == [
        "| one | 2 `503` of 9 | 1.2 s | so |",
        "| two | - | - | not tried: needs root |",
    ]
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_the_page_shows_the_figures_that_are_kept() -> None:
    kept = json.loads((RESULTS / "faults.json").read_text(encoding="utf-8"))["faults"]
    page = (RESULTS.parents[1] / "docs" / "serving" / "operating.md").read_text(encoding="utf-8")
    assert _markdown(kept) in page
