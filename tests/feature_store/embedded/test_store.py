"""What is particular to LMDB: files, sharing within a process, limits, and what it does when they are not there."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import pytest

from feature_store import Column, CursorExpired, EmbeddedStore, StoreUnavailable, UnknownView, ViewSchema

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


async def text_of(store: EmbeddedStore, entity: str = "a") -> str | None:
    (row,) = await store.get_many("item", [entity])
    return None if row is None else str(row.values["text"])


async def make(path: Path, text: str) -> Path:
    """A store in a directory of its own."""
    async with store_at(path) as store:
        await store.create_view(ITEM)
        await store.put_many("item", [("a", {"text": text}, None)])
    return path


async def test_a_directory_put_in_its_place_is_read_at_once(tmp_path: Path) -> None:
    path, other = await make(tmp_path / "live", "old"), await make(tmp_path / "next", "new")
    async with store_at(path) as store, store_at(path) as beside:
        _, cursor = await store.changes("item", None)
        assert (await text_of(store), await text_of(beside)) == ("old", "old")
        path.rename(tmp_path / "former")
        assert await text_of(store) == "old"  # nothing is there for a moment: the former file goes on
        other.rename(path)
        assert (await text_of(store), await text_of(beside)) == ("new", "new")
        with pytest.raises(CursorExpired):
            await store.changes("item", cursor)
        await store.put_many("item", [("b", {"text": "x"}, None)])
    async with store_at(path) as store, store_at(tmp_path / "former") as former:
        assert (await text_of(store, "b"), await text_of(former, "b")) == ("x", None)


async def test_a_link_may_lead_elsewhere(tmp_path: Path) -> None:
    first, second = await make(tmp_path / "1", "old"), await make(tmp_path / "2", "new")
    live, swap = tmp_path / "live", tmp_path / "swap"
    live.symlink_to(first)
    async with store_at(live) as store, store_at(first) as direct:
        assert await text_of(store) == "old"
        swap.symlink_to(second)
        swap.rename(live)
        assert (await text_of(store), await text_of(direct)) == ("new", "old")


async def test_half_of_the_files_cannot_be_replaced(tmp_path: Path) -> None:
    path, other = await make(tmp_path / "live", "old"), await make(tmp_path / "next", "new")
    async with store_at(path) as store:
        assert await text_of(store) == "old"
        (other / "data.mdb").rename(path / "data.mdb")
        with pytest.raises(StoreUnavailable, match=r"data.mdb was replaced and lock.mdb was not.*put a new directory"):
            await text_of(store)
        shutil.rmtree(path)
        await make(path, "newest")
        assert await text_of(store) == "newest"


async def test_a_store_may_be_replaced_or_closed_while_it_is_written(tmp_path: Path) -> None:
    path, other = await make(tmp_path / "live", "old"), await make(tmp_path / "next", "new")
    async with store_at(path) as store, store_at(path) as closing:
        rows = [(n, {"text": str(n)}, None) for n in range(60_000)]
        writing = [asyncio.create_task(each.put_many("item", rows)) for each in (store, closing)]
        await asyncio.sleep(0.05)
        await closing.close()
        path.rename(tmp_path / "former")
        other.rename(path)
        assert await asyncio.gather(*writing) == [60_000, 60_000]
        assert await text_of(store) == "new"


async def test_rows_that_expired_go_as_others_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr("feature_store.embedded.change_log.MAX_IDS", 100)
    async with store_at(tmp_path) as store:
        await store.create_view(ITEM)
        await store.put_many("item", [("stays", {"text": "x"}, None)])
        sizes = []
        for day in range(30):  # each day 500 new rows that live for a day
            await store.put_many("item", [(f"{day}-{n}", {"text": "x" * 50}, None) for n in range(500)], ttl_seconds=1)
            now[0] += 2
            for n in range(20):
                await store.put_many("item", [("stays", {"text": str(n)}, None)])
            stats = await store.stats("item")
            assert stats.num_rows == 1
            sizes.append((tmp_path / "data.mdb").stat().st_size)
            assert stats.num_expired_rows <= 1_000
        assert sizes[-1] == pytest.approx(sizes[9], rel=0.05)


async def test_rows_given_a_time_to_live_later_go_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store_at(tmp_path) as store:
        await fill(store)
        await store.update_many("item", [("a", {"text": "y"}, None)], ttl_seconds=60)
        later = time.time() + 61
        monkeypatch.setattr(time, "time", lambda: later)
        assert (await store.stats("item")).num_expired_rows == 1
        await store.put_many("item", [("b", {"text": "z"}, None)])
        assert (await store.stats("item")).num_expired_rows == 0


READER = """
import lmdb, sys, time
with lmdb.open(sys.argv[1], readonly=True).begin() as txn:
    print(txn.stat()["entries"], flush=True)
    time.sleep(600)
"""


async def test_a_reader_that_was_killed_keeps_no_pages_from_reuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_store.embedded.change_log.MAX_IDS", 100)
    async with store_at(tmp_path) as store:
        await fill(store)
        command = (sys.executable, "-c", READER, str(tmp_path))
        reader = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert reader.stdout is not None
        assert await reader.stdout.readline()
        sizes = []
        for round_ in range(12):
            if round_ == 3:
                reader.kill()
                await reader.wait()
            await store.put_many("item", [(n, {"text": f"{round_:02}" * 200}, None) for n in range(2_000)])
            sizes.append((tmp_path / "data.mdb").stat().st_size)
    assert sizes[0] < sizes[3]  # the reader's snapshot was kept while it lived
    assert sizes[-1] == pytest.approx(sizes[6], rel=0.05)


async def test_the_log_of_changes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_store.embedded.change_log.MAX_IDS", 100)
    async with store_at(tmp_path) as store:
        await store.create_view(ITEM)
        for n in range(200):
            await store.put_many("item", [(k, {"text": str(n)}, None) for k in range(n % 7 + 1)])
    with lmdb.open(str(tmp_path), readonly=True) as env, env.begin() as txn:
        entries = [key for key, _ in txn.cursor() if key.startswith(b"\1item\0")]
    assert 100 / 7 <= len(entries) <= 101
