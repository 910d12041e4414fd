"""Our reads of features, as `benchmarks.feature_store` asks for them.

python -m benchmarks.support.feature_reads lmdb:PATH columns
python -m benchmarks.support.feature_reads redis://127.0.0.1:6379/0 rows
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.peers.timed_reads import answer
from feature_store import FeatureStore, parse_store


def main() -> None:
    """Open the store, then answer."""
    store_text, shape = sys.argv[1:]
    loop = asyncio.new_event_loop()  # `asyncio.Runner` writes out what each call returned, which takes longer than it
    store = parse_store(store_text).build()
    schema = loop.run_until_complete(store.schema("item"))
    assert schema is not None
    read = _columns if shape == "columns" else _rows
    answer(lambda ids: loop.run_until_complete(read(store, ids, schema.names)))
    loop.run_until_complete(store.close())
    loop.close()


async def _columns(store: FeatureStore, ids: list[str], names: Sequence[str]) -> Mapping[str, Sequence[Any]]:
    return (await store.get_columns("item", ids, names)).values


async def _rows(store: FeatureStore, ids: list[str], names: Sequence[str]) -> dict[str, list[Any]]:
    rows = await store.get_many("item", ids)
    return {name: [None if row is None else row.values[name] for row in rows] for name in names}


if __name__ == "__main__":
    main()
