"""What is particular to LMDB: files, sharing within a process, limits, and what it does when they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from feature_store import Column, EmbeddedStore, StoreUnavailable, UnknownView, ViewSchema

ITEM = ViewSchema("item", (Column("text", "string"),))


def store_at(path: Path, map_size_bytes: int = 2**26, readonly: bool = False) -> EmbeddedStore:
    return EmbeddedStore.Config(path=path, map_size_bytes=map_size_bytes, readonly=readonly).build()


async def fill(store: EmbeddedStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", {"text": "x"}, None)])


async def test_reading_makes_no_files(tmp_path: Path) -> None:
    path = tmp_path / "absent"
    async with store_at(path) as store:
        for call in (store.get_many("item", ["a"]), store.ping(), store.views(), store.put_many("item", [])):
            with pytest.raises(StoreUnavailable, match=r"no LMDB store at '.*absent'; correct the path"):
                await call
        assert not path.exists()
        await fill(store)  # and a store that is made later is found
        assert len(await store.get_many("item", ["a"])) == 1


async def test_stores_of_one_process_share_the_file(tmp_path: Path) -> None:
    first, second = store_at(tmp_path), store_at(tmp_path / ".." / tmp_path.name)
    await fill(first)
    assert await second.get_many("item", ["a"]) == await first.get_many("item", ["a"])
    await first.close()
    assert await second.get_many("item", ["a"]) != [None]
    await second.close()
    assert await first.get_many("item", ["a"]) != [None]  # opens again
    await first.close()


async def test_rows_outlive_the_store(tmp_path: Path) -> None:
    async with store_at(tmp_path) as store:
        await fill(store)
    async with store_at(tmp_path) as store:
        (row,) = await store.get_many("item", ["a"])
    assert row is not None
    assert row.values == {"text": "x"}


async def test_a_store_opened_readonly_reads_only(tmp_path: Path) -> None:
    async with store_at(tmp_path) as store:
        await fill(store)
    async with store_at(tmp_path, readonly=True) as store:
        assert await store.get_many("item", ["a"]) != [None]
        with pytest.raises(StoreUnavailable, match="opened with `readonly` and cannot be written"):
            await store.put_many("item", [("b", {"text": "y"}, None)])


async def test_a_full_map_is_told_and_keeps_what_was_there(tmp_path: Path) -> None:
    async with store_at(tmp_path, map_size_bytes=2**20) as store:
        await fill(store)
        with pytest.raises(StoreUnavailable, match="`map_size_bytes` = 1048576; raise it"):
            await store.put_many("item", ((n, {"text": "y" * 1_000}, None) for n in range(2_000)))
        assert [row is None for row in await store.get_many("item", ["a", 0, 1_999])] == [False, True, True]
    async with store_at(tmp_path, map_size_bytes=2**26) as store:  # and raising it helps
        assert await store.put_many("item", ((n, {"text": "y" * 1_000}, None) for n in range(2_000))) == 2_000


async def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1_000)
    async with store_at(tmp_path) as store:
        with pytest.raises(StoreUnavailable, match=r"LMDB store '.*' cannot be opened"):
            await store.get_many("item", ["a"])
    file = tmp_path / "file"
    file.write_text("x")
    async with store_at(file) as store:
        with pytest.raises(StoreUnavailable, match=r"LMDB store '.*file' cannot be opened"):
            await store.create_view(ITEM)


async def test_a_store_must_not_cross_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store_at(tmp_path) as store, store_at(tmp_path) as other:
        await fill(store)
        with monkeypatch.context() as patch:
            child = os.getpid() + 1
            patch.setattr(os, "getpid", lambda: child)
            for forked in (store, other):
                with pytest.raises(StoreUnavailable, match="must be opened after forking"):
                    await forked.get_many("item", ["a"])


async def test_one_commit_serves_all_views(tmp_path: Path) -> None:
    async with store_at(tmp_path) as store:
        await fill(store)
        with pytest.raises(UnknownView):
            await store.stats("ite")  # a prefix of a view's name is not the view
        await store.create_view(ViewSchema("ite", ITEM.columns))
        assert (await store.stats("ite")).num_rows == 0
