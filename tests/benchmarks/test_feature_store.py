"""The benchmark of feature reads: readers agree, ratios are taken within a round, and its figures are documented."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import feature_store as benchmark
from benchmarks.feature_store import Reader, Times, markdown, summary, write_items
from feature_store import materialize, parse_store


def test_both_ways_of_reading_give_the_files_values(tmp_path: Path) -> None:
    write_items(items := tmp_path / "items.parquet", 70)
    table = pq.read_table(items)
    names = table.column_names[1:-1]

    async def fill() -> None:
        async with parse_store(f"lmdb:{tmp_path / 'store'}").build() as store:
            await materialize(store, "item", [items], key="item_id", columns=names)

    asyncio.run(fill())
    ids = ["item7", "item3", "item69"]
    expected = table.take([7, 3, 69]).select(names).to_pydict()
    for shape in ("columns", "rows"):
        command = [sys.executable, "-m", "benchmarks.support.feature_reads", f"lmdb:{tmp_path / 'store'}", shape]
        reader = Reader(command)
        times, columns = reader.read([["item1"], ids])
        reader.stop()
        assert [len(each) for each in times] == [2, 2]
        assert columns == expected


def test_ratios_are_taken_within_a_round() -> None:
    def rounds(*medians: float) -> list[list[Times]]:
        return [[(each, 7.0), (each / 2, each), (each * 9, 7.0)] for each in medians]

    peers = {"Feast, SQLite": rounds(6.0, 50.0), "Feast, Redis": rounds(4.0, 8.0)}
    lines = summary({"LMDB": rounds(2.0, 10.0), "Redis": rounds(4.0, 4.0), **peers})
    assert lines["Feast, SQLite"]["clock_times_ours"] == 4.0  # of 3 and 5
    assert lines["Feast, Redis"]["clock_times_ours"] == 1.5
    assert lines["LMDB"] == {"clock_ms": 6.0, "processor_ms": 7.0}


def test_the_documentation_shows_the_figures_that_are_kept(repository: Path) -> None:
    kept = json.loads(benchmark.KEPT.read_text())
    assert markdown(kept["summary"]) in (repository / "docs" / "feature_store.md").read_text()
