"""Processes that build item tables: one builds for all that want the same one, and none leaves a half one behind."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.serving.conftest import ITEMS, World, eventually
from tests.serving.items.conftest import children, put, serving, tables

BUILDER = """
import asyncio, sys
from pathlib import Path
from feature_store import parse_store
from ranker.registry import Registry
from serving.feature_plan import FeaturePlan
from serving.items import ItemSide, ItemTables, StoreItems, StoreSource
from serving.metrics import Metrics
registry, store, root = sys.argv[1:]
bundle = Registry(registry).load()
side = ItemSide(bundle.encoder, FeaturePlan.of(bundle.schema))
config = parse_store(store)
async def main():
    async with config.build() as opened:
        tables = ItemTables(ItemTables.Config(), Path(root), StoreSource(config), StoreItems(opened), Metrics(), 60.0)
        print("ready", flush=True)
        sys.stdin.readline()
        await tables.prepare(side, bundle.path, live=side)
        print(side.snapshot.name, flush=True)
asyncio.run(main())
"""


def builders(world: World, number: int) -> list[subprocess.Popen[str]]:
    """Processes that are about to build a table; a line to one starts it."""
    arguments = [str(world.folder / "registry"), world.store_text, str(world.folder / "item_tables")]
    command = [sys.executable, "-c", BUILDER, *arguments]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    return processes


def start(*processes: subprocess.Popen[str]) -> None:
    """Let them build."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


async def _has_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def _builds(world: World) -> bool:
    return bool(list((world.folder / "item_tables").glob("*/.*.partial/id.bytes.npy")))


async def test_of_two_processes_one_builds_and_a_killed_one_leaves_nothing(world: World) -> None:
    await put(world, {f"many{n}": ITEMS["i5"] for n in range(20_000)})
    killed, *others = builders(world, 3)
    start(killed)
    await eventually(lambda: _builds(world))
    (child,) = children(killed.pid)
    killed.kill()
    killed.communicate()
    await eventually(lambda: _has_gone(child))
    assert all(name.startswith(".") for name in tables(world))
    start(*others)
    names = [process.communicate()[0].strip() for process in others]
    assert names[0] == names[1]
    assert tables(world) == names[:1]
    await put(world, {"i3": ITEMS["i5"]})
    async with serving(world, wait=False) as client:
        assert client.side.snapshot is not None
        assert client.side.snapshot.name == names[0]
