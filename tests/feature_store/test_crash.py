"""A writer that is killed in the middle: what it wrote is whole, and every row of it is told to readers of changes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import feature_store
from feature_store import Column, FeatureStore, ViewSchema

ROOT = Path(feature_store.__file__).parents[1]
ITEM = ViewSchema("item", (Column("n", "int"), Column("text", "string")))

WRITER = """
import asyncio, itertools, sys
from feature_store import parse_store

async def main():
    async with parse_store(sys.argv[1]).build() as store:
        for start in itertools.count(step=1_500):
            rows = [(n, {"n": n, "text": str(n) * 20}, None) for n in range(start, start + 1_500)]
            await store.put_many("item", rows)
            print(start, flush=True)

asyncio.run(main())
"""


async def test_a_killed_writer_leaves_whole_rows_all_of_them_told(store: FeatureStore, store_text: str) -> None:
    await store.create_view(ITEM)
    _, cursor = await store.changes("item", None)
    command = (sys.executable, "-c", WRITER, store_text)
    writer = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(7):
        assert await writer.stdout.readline()
    writer.kill()
    await writer.wait()
    rows = {entity: row async for chunk in store.scan_rows("item") for entity, row in chunk}
    assert len(rows) >= 7 * 1_500
    assert all(row.values == {"n": int(entity), "text": entity * 20} for entity, row in rows.items())
    told: set[str] = set()
    while True:
        ids, cursor = await store.changes("item", cursor)
        if not ids:
            break
        told |= set(ids)
    assert told == set(rows)
    assert await store.put_many("item", [("next", {"n": 1}, None)]) == 1  # and nothing stays locked
