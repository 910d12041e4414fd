"""The serving benchmark asks all servers for the same, and measures what a client sees."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.serve import figures, summary
from benchmarks.support import rank_requests, serving_log
from benchmarks.support.agreement import compare
from benchmarks.support.closed_loop import Load, exchange, run
from benchmarks.support.rank_requests import RequestBodies
from benchmarks.support.ranking_servers import OURS
from benchmarks.support.serve_tables import markdown
from benchmarks.support.server_tree import free_port, running

Answer = Callable[[bytes], list[bytes]]


def _whole(body: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body]


def _chunked(body: bytes) -> list[bytes]:
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part]
    return [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]


def _last(body: bytes) -> list[bytes]:
    return [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body), body]


def _refused(body: bytes) -> list[bytes]:
    return [b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n" % len(body) + body]


@contextmanager
def _server(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers every body with what `answer` makes of it, in pieces; its port and the bodies it saw."""
    seen: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(asyncio.IncompleteReadError):  # the client is done
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                seen.append(await reader.readexactly(length))
                for piece in answer(seen[-1]):
                    writer.write(piece)
                    await asyncio.sleep(0)

    async def end() -> None:
        listening.close()
        while True:
            for writer in writers:
                writer.close()
            if not (connections := asyncio.all_tasks() - {asyncio.current_task()}):
                return
            await asyncio.wait(connections)  # those included that are accepted just now

    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listening.sockets[0].getsockname()[1], seen
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize("answer", [_whole, _chunked])
@pytest.mark.parametrize("body", [b"{}", b"x" * 100_003])
def test_an_answer_arrives_whole_however_it_is_sent(answer: Answer, body: bytes) -> None:
    with _server(answer) as (port, seen):
        assert exchange(port, "/rank", body) == body
        assert seen == [body]


def test_every_connection_takes_the_next_body_once_it_has_its_answer() -> None:
    bodies = [b"one", b"three", b"seventeen"]
    with _server(_whole) as (port, seen):
        load = run(port, "/", bodies, 4, warm_seconds=0.05, seconds=0.3, server_cpu=iter((2.0, 5.0)).__next__)
    counts = Counter(seen)
    assert set(counts) == set(bodies)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert 0 < len(load.latencies) <= len(seen)
    assert load.server_cpu_ms == pytest.approx(3000 / len(load.latencies))
    assert (load.latencies > 0).all()


def test_a_connection_that_the_server_lets_go_is_followed_by_another() -> None:
    turns = itertools.cycle([_whole, _last])
    with _server(lambda body: next(turns)(body)) as (port, seen):
        load = run(port, "/", [b"1", b"22"], 3, warm_seconds=0.0, seconds=0.2, server_cpu=lambda: 0.0)
    assert len(seen) >= len(load.latencies) > 6


def test_an_error_ends_the_measurement() -> None:
    with _server(_refused) as (port, _), pytest.raises(RuntimeError, match="503 Busy"):
        run(port, "/", [b"no"], 3, warm_seconds=0, seconds=0.1, server_cpu=lambda: 0.0)
    with pytest.raises(OSError, match=r"refused|Connect"):
        exchange(free_port(), "/", b"nobody there")


def test_requests_name_different_items_and_the_popular_ones_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_log, "NUM_ITEMS", 900)
    monkeypatch.setattr(serving_log, "NUM_USERS", 30)
    monkeypatch.setattr(rank_requests, "NUM_CANDIDATES", 50)
    columns = {name: np.arange(900) + place for place, name in enumerate(serving_log.ITEM.names)}
    pq.write_table(pa.table(columns), path := tmp_path / "items.parquet")
    bodies = RequestBodies(path)
    by_id = [orjson.loads(body) for body in bodies.make("ids", 40)]
    assert all(len(set(body["candidates"])) == 50 for body in by_id)
    counts = Counter(item for body in by_id for item in body["candidates"])
    assert counts["i0"] > counts["i20"] > counts["i800"]
    (body,) = (orjson.loads(body) for body in bodies.make("features", 1))
    assert all(
        entry["features"][serving_log.ITEM.names[3]] == int(entry["item_id"][1:]) + 3 for entry in body["candidates"]
    )
    assert set(body["context"]) == set(serving_log.CONTEXT.names)


def test_a_power_law_leaves_out_no_value() -> None:
    drawn = serving_log.power_law(np.random.default_rng(3), 70, 5_000)
    counts = np.bincount(drawn)
    assert len(counts) == 70
    assert counts.min() >= 1
    assert counts[0] > 3 * counts[10] > 3 * counts[60]


def _ranking(*scores: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"item_id": item_id, "score": score} for item_id, score in scores]


def test_agreement_is_of_the_best_places_and_of_scores() -> None:
    one = _ranking(("a", 0.9), ("b", 0.5), ("c", 0.25))
    assert compare(one, one) == (1.0, 0.0)
    overlap, difference = compare(one, _ranking(("a", 0.875), ("c", 0.25), ("d", 0.1)))
    assert [overlap, difference] == pytest.approx([2 / 3, 0.025])
    with pytest.raises(RuntimeError, match="no item in common"):
        compare(one, _ranking(("x", 0.9)))


def _round(rate: float, p99: float) -> dict[str, Any]:
    load = Load(2.0, np.linspace(1.0, p99, 101), 0.1, 7.0)
    cells = [{"body": body, "connections": n} | figures(load) for body in ("ids", "features") for n in (1, 8)]
    for cell in cells:
        cell["requests_per_second"] = rate
    return {"cells": cells, "memory_mb": [{"private": 31.0, "proportional": 47.0}], "agreement": {}}


def test_ratios_are_taken_within_a_round_and_shown() -> None:
    ours = [_round(600.0, 11.0), _round(200.0, 23.0), _round(500.0, 13.0)]
    theirs = [_round(100.0, 101.0), _round(50.0, 201.0), _round(125.0, 301.0)]
    cells = summary(ours, theirs)
    assert [(cell["body"], cell["connections"]) for cell in cells][:3] == [("ids", 1), ("ids", 8), ("features", 1)]
    assert cells[0]["ratio_requests_per_second"] == 4.0
    assert (cells[0]["requests_per_second"], cells[0]["ours_requests_per_second"]) == (100.0, 500.0)
    assert cells[0]["ratio_cpu_ms"] == 1.0
    tables = markdown({"BentoML": {"summary": cells, "measured": {OURS: ours, "BentoML": theirs}}})
    assert "| BentoML | 4.00 | 4.00 | 4.00 | 4.00 |" in tables
    assert "| ours | 31 | 47 |" in tables
    assert "| ours | 500, 7.0, 12.9, 7.0 |" in tables


def test_a_server_is_watched_and_stopped_with_all_its_processes(tmp_path: Path) -> None:
    child = "import time; sum(range(3_000_000)); time.sleep(600)"
    parent = f"import subprocess, sys; print('up', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    log = tmp_path / "log"

    def ready() -> None:
        if b"up" not in log.read_bytes():
            raise ConnectionError("not yet")

    with running([sys.executable, "-c", parent], {}, tmp_path, log, ready) as tree:
        while len(tree.memory()) < 2:
            pass
        assert all(0 < process.private <= process.proportional for process in tree.memory())
        assert tree.cpu_seconds() > 0
    assert tree.memory() == []
    with (
        pytest.raises(RuntimeError, match="no such thing"),
        running([sys.executable, "-c", "raise SystemExit('no such thing')"], {}, tmp_path, log, ready),
    ):
        pass
