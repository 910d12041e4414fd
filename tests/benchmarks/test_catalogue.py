"""The benchmark of catalogues: its stores hold what they say, and its figures are documented."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import orjson

from benchmarks import catalogue as benchmark
from benchmarks.support import serving_log as log
from benchmarks.support.catalogue_world import NUM_CANDIDATES, Catalogue
from benchmarks.support.results import RESULTS
from feature_store import parse_store


def test_a_store_has_its_items_and_users_and_is_filled_once(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, num_items=700, num_users=30)
    filled = catalogue.fill()
    assert filled == catalogue.fill()

    async def read() -> None:
        async with parse_store(catalogue.store).build() as store:
            assert (await store.stats("item")).num_rows == 700
            assert (await store.stats("user")).num_rows == 30
            row, absent = await store.get_many("item", ["i699", "i700"])
            assert row is not None
            assert tuple(row.values) == log.ITEM.names
            assert absent is None

    asyncio.run(read())


def test_bodies_name_different_items_of_the_catalogue() -> None:
    for body in map(orjson.loads, Catalogue(Path("nowhere"), num_items=700, num_users=30).bodies(3)):
        numbers = {int(item.removeprefix("i")) for item in body["candidates"]}
        assert len(numbers) == NUM_CANDIDATES
        assert numbers <= set(range(700))
        assert set(body["context"]) == set(log.CONTEXT.names)


def test_the_documentation_shows_the_figures_that_are_kept(repository: Path) -> None:
    kept = json.loads((RESULTS / f"{benchmark.NAME}.json").read_text())
    assert benchmark.markdown(kept["sizes"]) in (repository / "docs" / "serving" / "item_table.md").read_text()
