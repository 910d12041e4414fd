"""Feast as its documentation advises for low latency.

A feature service in place of names to parse, a registry that is cached for good, the newest serialisation of keys, and
the Redis store's client with hiredis. `to_dict` is a part of the read: values are of no use before.

    python -m benchmarks.peers.feast.reader items.parquet /tmp/folder sqlite
    python -m benchmarks.peers.feast.reader items.parquet /tmp/folder redis 127.0.0.1:6379
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Float64, String

from benchmarks.peers.timed_reads import answer


def filled(items: Path, folder: Path, online: dict[str, str]) -> FeatureStore:
    """A store with the rows of a Parquet file, and a service `rank` that reads all their columns."""
    registry = {"path": str(folder / "registry.db"), "cache_ttl_seconds": 0}
    settings: dict[str, Any] = {"project": "ranking", "provider": "local", "entity_key_serialization_version": 3}
    store = FeatureStore(config=RepoConfig(registry=registry, online_store=online, **settings))
    rows = pd.read_parquet(items)
    types = {name: _type(column) for name, column in rows.items() if name not in ("item_id", "event_timestamp")}
    view = FeatureView(
        name="item",
        entities=[entity := Entity(name="item", join_keys=["item_id"], value_type=ValueType.STRING)],
        ttl=timedelta(0),
        schema=[Field(name="item_id", dtype=String), *(Field(name=name, dtype=kind) for name, kind in types.items())],
        source=FileSource(path=str(items), timestamp_field="event_timestamp"),
    )
    store.apply([entity, view, FeatureService(name="rank", features=[view])])
    store.write_to_online_store("item", rows)
    return store


def _type(column: pd.Series) -> Any:
    if column.dtype.kind == "f":
        return Float64
    return String if isinstance(column.iloc[0], str) else Array(String)


def main() -> None:
    """Fill, then answer."""
    items, folder, kind, *address = sys.argv[1:]
    online = {"type": "redis", "connection_string": address[0]} if address else {"type": "sqlite"}
    store = filled(Path(items), Path(folder), online if address else {**online, "path": f"{folder}/{kind}.db"})
    service = store.get_feature_service("rank")

    def read(ids: list[str]) -> dict[str, list[Any]]:
        found = store.get_online_features(features=service, entity_rows=[{"item_id": entity} for entity in ids])
        return found.to_dict()  # type: ignore[no-any-return]  # of this peer's own environment: untyped here

    answer(read)


if __name__ == "__main__":
    main()
