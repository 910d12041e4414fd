"""Feedback and rankings end up in Parquet files, or the caller knows that they do not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.errors import LogFull
from serving.metrics import Metrics
from serving.request_log import FEEDBACK, Segments
from tests.serving.conftest import CONTEXT, Answer, World, eventually

EVENT = {"request_id": "r1", "item_id": 5, "event": "click"}


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of a folder of segments, in the order of their files."""
    return [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


async def test_feedback_is_written_with_what_was_ranked(world: World) -> None:
    folder = world.folder / "log"
    async with world.serve(request_log={"path": folder}) as client:
        body = {"user_id": 7, "candidates": ["i1", "i2", "i3"], "top_k": 2, "context": CONTEXT, "request_id": "r1"}
        answer = (await client.post("/rank", json=body)).json()
        response = await client.post("/feedback", json=EVENT)
        assert (response.status_code, response.json()) == (202, {"accepted": 1})
        several = [EVENT | {"timestamp": 1_700_000_000.5}, EVENT | {"timestamp": "2024-02-29T12:00:00+02:00"}]
        assert (await client.post("/feedback", json=several)).json() == {"accepted": 2}
    found = rows(folder / "feedback")
    assert [(row["request_id"], row["item_id"], row["event"]) for row in found] == [("r1", "5", "click")] * 3
    assert [row["timestamp"] for row in found[1:]] == [
        datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC),
        datetime(2024, 2, 29, 10, tzinfo=UTC),
    ]
    (ranked,) = rows(folder / "rankings")
    assert ranked["request_id"] == "r1"
    assert ranked["user_id"] == "7"
    assert json.loads(ranked["context"]) == CONTEXT
    assert ranked["item_ids"] == [entry["item_id"] for entry in answer["ranking"]]
    assert ranked["scores"] == [entry["score"] for entry in answer["ranking"]]
    assert ranked["model_version"] == "v1"


async def test_waiting_events_are_flushed_while_the_server_runs(world: World) -> None:
    folder = world.folder / "log"
    async with world.serve(request_log={"path": folder, "flush_seconds": 0.02, "rankings": False}) as client:
        await client.post("/feedback", json=EVENT)
        await client.post("/rank", json={"candidates": ["i1"]})

        async def written() -> bool:
            return len(rows(folder / "feedback")) == 1

        await eventually(written)
        metrics = (await client.get("/metrics")).text
        assert 'ranker_logged_events_total{kind="feedback"} 1.0' in metrics
    assert not (folder / "rankings").exists()


async def test_without_a_folder_the_setting_is_named(world: World) -> None:
    async with world.serve() as client:
        response = await client.post("/feedback", json=EVENT)
        assert response.status_code == 503
        assert "RANKER_REQUEST_LOG__PATH" in response.json()["detail"]


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({**EVENT, "event": "two words"}, "event"),
        ({**EVENT, "item_id": 1.5}, "item_id"),
        ({**EVENT, "timestamp": "yesterday"}, "timestamp"),
        ({**EVENT, "timestamp": "2024-02-29T12:00:00"}, "timestamp"),
        ({**EVENT, "timestamp": -1}, "timestamp"),
        ({**EVENT, "timestamp": 1e300}, "timestamp"),
        ({**EVENT, "price": 3}, "price"),
        ({"item_id": 1, "event": "click"}, "request_id"),
        ([], "body"),
        ([EVENT, EVENT | {"item_id": None}], "[1].item_id"),
        (5, "body"),
    ],
)
def test_a_bad_event_is_refused(answer: Answer, event: object, field: str) -> None:
    response = answer("/feedback", json.dumps(event).encode())
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("timestamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", 0, 253_402_300_799.0])
async def test_extreme_times_are_written(world: World, timestamp: object) -> None:
    folder = world.folder / "log"
    async with world.serve(request_log={"path": folder}) as client:
        response = await client.post("/feedback", json=EVENT | {"timestamp": timestamp})
        assert response.status_code == 202
    (file,) = (folder / "feedback").glob("*.parquet")
    assert pq.read_table(file).num_rows == 1  # as integers: Python has no year 0 and no year 10000


def row(n: int) -> dict[str, Any]:
    """A feedback row."""
    return {"request_id": f"r{n}", "item_id": "i", "event": "e", "timestamp": datetime(2024, 1, 1, tzinfo=UTC)}


def test_rows_wait_for_a_disk_that_fails_and_the_rest_is_refused(tmp_path: Path) -> None:
    folder, metrics = tmp_path / "segments", Metrics()
    folder.write_text("a file where the folder should be")
    segments = Segments(folder, FEEDBACK, 3, metrics)
    segments.add([row(0), row(1)], 2)
    segments.flush()
    segments.add([row(2)], 1)
    with pytest.raises(LogFull, match="RANKER_REQUEST_LOG__MAX_PENDING"):
        segments.add([row(3)], 1)
    folder.unlink()
    segments.flush()
    assert [found["request_id"] for found in rows(folder)] == ["r0", "r1", "r2"]
    segments.add([row(n) for n in range(4, 9)], 5)  # more than may wait, but nothing waits: taken, or never would be
    segments.flush()
    assert len(rows(folder)) == 8
    assert metrics.registry.get_sample_value("ranker_log_failures_total") == 1


async def test_a_full_log_never_stops_a_ranking(world: World) -> None:
    async with world.serve(request_log={"path": world.folder / "log", "max_pending": 1}) as client:
        for _ in range(3):
            assert (await client.post("/rank", json={"candidates": ["i1"]})).status_code == 200
        assert "ranker_log_failures_total 2.0" in (await client.get("/metrics")).text


def test_readers_never_see_a_file_in_the_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = Segments(tmp_path / "segments", FEEDBACK, 10, Metrics())
    seen: list[list[str]] = []
    write = pq.write_table

    def write_and_look(table: pa.Table, path: Path) -> None:
        write(table, path)
        seen.append([file.name for file in path.parent.glob("*.parquet") if not file.name.startswith(".")])

    monkeypatch.setattr(pq, "write_table", write_and_look)
    segments.add([row(0)], 1)
    segments.flush()
    assert seen == [[]]
    assert len(rows(tmp_path / "segments")) == 1
