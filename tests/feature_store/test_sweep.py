"""What nobody sees any more goes away: expired rows, and rows of earlier schemas if asked."""

from __future__ import annotations

import time

import pytest

from feature_store import Column, FeatureStore, UnknownView, ViewSchema

ITEM = ViewSchema("item", (Column("n", "int"),))
WIDER = ViewSchema("item", (*ITEM.columns, Column("brand", "string")))


async def test_a_sweep_removes_what_expired(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [(n, {"n": n}, None) for n in range(30)])
    await store.put_many("item", [(n, {"n": n}, None) for n in range(20, 70)], ttl_seconds=3_600)
    assert await store.sweep("item") == 0
    later = time.time() + 3_601  # of this process; a Redis server goes by its own clock
    monkeypatch.setattr(time, "time", lambda: later)
    stats = await store.stats("item")
    assert (stats.num_rows, stats.num_expired_rows) == (20, 50)
    assert await store.sweep("item") == 50
    stats = await store.stats("item")
    assert (stats.num_rows, stats.num_expired_rows) == (20, 0)
    assert None not in await store.get_many("item", range(20))
    with pytest.raises(UnknownView):
        await store.sweep("itme")


async def test_rows_of_earlier_schemas_go_if_asked_and_are_told(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [(n, {"n": n}, None) for n in range(7)])
    await store.create_view(WIDER, replace=True)
    await store.put_many("item", [(n, {"n": n}, None) for n in range(5, 10)])
    _, cursor = await store.changes("item", None)
    assert await store.sweep("item") == 0
    assert await store.sweep("item", older_schemas=True) == 5
    assert set((await store.changes("item", cursor))[0]) == set("01234")
    assert [row is None for row in await store.get_many("item", range(10))] == [True] * 5 + [False] * 5


async def test_a_row_written_since_it_was_seen_stays(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", {"n": 1}, None), ("b", {"n": 1}, None)])
    seen = {entity: raw async for chunk in store.scan_packed("item") for entity, raw in chunk}
    await store.put_many("item", [("a", {"n": 2}, None)])
    assert await store._delete("item", [(entity.encode(), raw) for entity, raw in sorted(seen.items())]) == 1
    assert [row and row.values for row in await store.get_many("item", ["a", "b"])] == [{"n": 2}, None]
