"""The benchmark of feature reads: readers agree, ratios are taken within a round, and its figures are documented."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import feature_store as benchmark
from benchmarks.feature_store import Reader, markdown, summary, write_items
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
        milliseconds, columns = reader.read([["item1"], ids])
        reader.stop()
        assert len(milliseconds) == 2
        assert columns == expected


def test_ratios_are_taken_within_a_round() -> None:
    rounds = {"LMDB": [[1.0, 2.0, 3.0], [10.0] * 3], "Redis": [[4.0] * 3, [4.0] * 3]}
    peers = {"Feast, SQLite": [[6.0] * 3, [50.0] * 3], "Feast, Redis": [[4.0] * 3, [8.0] * 3]}
    lines = summary({**rounds, **peers})
    assert lines["Feast, SQLite"]["times_ours"] == 4.0  # of 3 and 5
    assert lines["Feast, Redis"]["times_ours"] == 1.5
    assert lines["LMDB"]["median_ms"] == 6.5


def test_the_documentation_shows_the_figures_that_are_kept(repository: Path) -> None:
    kept = json.loads(benchmark.KEPT.read_text())
    assert markdown(kept["summary"]) in (repository / "docs" / "feature_store.md").read_text()
