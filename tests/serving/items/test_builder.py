"""Builders of item tables: processes of their own, whose end in any way is told and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from feature_store import ItemTable, parse_store
from serving.items import ParquetItems, StoreSource
from serving.items.build import BuildError
from serving.items.builder import Order
from serving.items.builder_process import build_apart
from tests.serving.conftest import ITEMS, World, eventually
from tests.serving.items.conftest import children

STALL_SECONDS = 60.0


def order(world: World, **changes: Any) -> Order:
    """A table of the world's items."""
    bundle = world.registry.load("v1")
    given: dict[str, Any] = {
        "bundle": bundle.path,
        "fingerprint": bundle.encoder.fingerprint,
        "source": StoreSource(parse_store(world.store_text)),
        "target": world.folder / "tables" / "one",
        "max_age_seconds": None,
    }
    return Order(**(given | changes))


def builders() -> list[int]:
    """Those that this process has started."""
    return children(os.getpid())


async def _one_runs() -> bool:
    return bool(builders())


def partial(world: World) -> list[str]:
    """What is at the table's place, or beside it."""
    return [path.name for path in (world.folder / "tables").glob("*")]


async def test_a_builder_is_polite_and_its_table_is_whole(world: World) -> None:
    building = asyncio.create_task(build_apart(order(world), STALL_SECONDS))
    await eventually(_one_runs)
    (pid,) = builders()

    async def is_nice() -> bool:
        return os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0) == 10

    await eventually(is_nice)
    await building
    assert not builders()
    assert ItemTable.open(world.folder / "tables" / "one").num_rows == len(ITEMS) + 1


@pytest.mark.parametrize(
    ("number", "stall_seconds", "words"),
    [(signal.SIGKILL, STALL_SECONDS, "killed by signal 9"), (signal.SIGSTOP, 0.5, r"got no further for 0\.5 s")],
)
async def test_one_that_is_killed_or_hangs_is_told(
    world: World, number: signal.Signals, stall_seconds: float, words: str
) -> None:
    building = asyncio.create_task(build_apart(order(world), stall_seconds))
    await eventually(_one_runs)
    os.kill(builders()[0], number)
    with pytest.raises(BuildError, match=words):
        await building
    assert not builders()
    assert partial(world) == []


async def test_one_that_nobody_waits_for_any_more_is_ended(world: World) -> None:
    building = asyncio.create_task(build_apart(order(world), STALL_SECONDS))
    await eventually(_one_runs)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    assert not builders()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fingerprint": "of another model"}, "the bundle was altered"),
        ({"bundle": Path("nowhere")}, "nowhere"),
        ({"source": ParquetItems(Path("no.parquet"))}, r"no\.parquet"),
        ({"target": Path("/proc/nobody/writes")}, "/proc/nobody"),
    ],
)
async def test_what_keeps_it_from_building_is_told(world: World, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BuildError, match=words):
        await build_apart(order(world, **changes), STALL_SECONDS)


def test_an_order_arrives_as_it_was_given(world: World) -> None:
    redis = parse_store("redis://cache:6379/2?password=s3cret&key_prefix=shop")
    for source in (StoreSource(redis), StoreSource(parse_store(world.store_text)), ParquetItems(Path("items"), "at")):
        given = order(world, source=source, max_age_seconds=3.5)
        assert Order.model_validate_json(given.line()) == given
    assert "s3cret" not in repr(order(world, source=StoreSource(redis)))
