"""Nights killed at any moment by a real `kill -9`, and started again: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.support.bundle_content import bundle_content
from tests.training.nightly.conftest import SECOND, Shop
from tests.training.nightly.processes import Nights, die_at

# What the night is about to do to which file, and how often it may have done so before.
MOMENTS = {
    "its folder is not there yet": ("rename", "2026-01-03", 0),
    "the data are being checked": ("open", "profile.json", 0),
    "the encoder is half written": ("rename", "encoder", 0),
    "a checkpoint is half written": ("open", "checkpoints/.step-", 9),
    "in the middle of the second epoch": ("rename", "checkpoints/.step-", 7),
    "an old checkpoint is being removed": ("rename", "checkpoints/step-", 3),
    "trained, and not left yet": ("rename", "trained", 0),
    "trained, and the checkpoints are going": ("remove", "state.safetensors", 8),
    "trained, and not recorded": ("open", ".run.json", 1),
    "calibrated, and not recorded": ("open", ".run.json", 2),
    "the bundle is half written": ("open", "model.pt", 0),
    "the bundle is there, and not recorded": ("open", ".run.json", 5),
    "the copy in the registry is half written": ("open", "versions/", 3),
    "the copy is whole, and not seen yet": ("rename", "versions/", 0),
    "published, and not live yet": ("rename", "current.json", 0),
    "live, and not recorded": ("open", ".run.json", 6),
    "done, and the outcome is not written": ("open", ".run.json", 8),
    "done, and not reported": ("rename", "report.html", 0),
}
EVERY = ("a checkpoint is half written", "trained, and the checkpoints are going", "the bundle is half written",
         "published, and not live yet")  # fmt: skip


def assert_whole(shop: Shop) -> None:
    """What is live is complete, and scores as it should."""
    shop.registry.load().verify_golden()


def assert_as_undisturbed(shop: Shop, undisturbed: Shop) -> None:
    """The same model to the last bit, published once."""
    assert shop.record(SECOND.isoformat()).version == undisturbed.record(SECOND.isoformat()).version
    assert [info.version for info in shop.registry.versions()] == [i.version for i in undisturbed.registry.versions()]
    assert shop.registry.current() == undisturbed.registry.current()
    assert bundle_content(shop.registry.load()) == bundle_content(undisturbed.registry.load())
    record = shop.record(SECOND.isoformat())
    assert [stage.name for stage in record.stages] == [s.name for s in undisturbed.record(SECOND.isoformat()).stages]
    assert not list(shop.runs.rglob("*.partial"))
    assert not list(shop.registry.root.rglob("*.partial"))
    assert not (shop.runs / SECOND.isoformat() / "checkpoints").exists()


def kill_at(moment: str, shop: Shop, nights: Nights) -> None:
    process = nights.start(shop.command(SECOND), shop.root / "killed.txt", die_at, *MOMENTS[moment])
    assert process.wait() == -signal.SIGKILL, process.printed
    assert_whole(shop)


@pytest.mark.parametrize("moment", [pytest.param(m, marks=() if m in EVERY else pytest.mark.slow) for m in MOMENTS])
def test_killed_at(moment: str, open_shop: Shop, undisturbed: Shop, nights: Nights) -> None:
    kill_at(moment, open_shop, nights)
    code, printed = nights.run(open_shop.command(SECOND), open_shop.root / "second.txt")
    assert code == 0, printed
    assert_as_undisturbed(open_shop, undisturbed)


@pytest.mark.slow
def test_killed_again_and_again(open_shop: Shop, undisturbed: Shop, nights: Nights) -> None:
    kill_at("the data are being checked", open_shop, nights)
    kill_at("in the middle of the second epoch", open_shop, nights)
    kill_at("the copy in the registry is half written", open_shop, nights)
    kill_at("done, and not reported", open_shop, nights)
    code, printed = nights.run(open_shop.command(SECOND), open_shop.root / "second.txt")
    assert code == 0, printed
    assert_as_undisturbed(open_shop, undisturbed)


def appears(folder: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(folder.glob(pattern))


def test_asked_to_stop_while_training_it_goes_on_bit_by_bit(open_shop: Shop, undisturbed: Shop, nights: Nights) -> None:
    process = nights.start(open_shop.command(SECOND), open_shop.root / "stopped.txt")
    assert process.wait_until(appears(open_shop.runs / SECOND.isoformat(), "checkpoints/step-*"))
    process.signal(signal.SIGTERM)
    assert process.wait() == 5, process.printed
    record = open_shop.record(SECOND.isoformat())
    assert record.outcome == "interrupted"
    assert record.done("train") is None
    assert "asked to stop" in process.printed
    assert open_shop.night(SECOND).outcome == "published"
    assert_as_undisturbed(open_shop, undisturbed)
