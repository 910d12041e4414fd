"""A night as two processes over gloo: one of them writes, both take part, and neither waits for one that is gone."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.training.nightly.conftest import SECOND, Shop
from tests.training.nightly.processes import Nights
from tests.training.nightly.test_job import STAGES, with_zeros


@pytest.fixture
def shop_of_small_steps(open_shop: Shop) -> Shop:
    """With so many steps that both processes come to safe points within an epoch."""
    open_shop.set("training", batch_size=40)
    return open_shop


def aucs(shop: Shop) -> dict[str, float]:
    found: dict[str, Any] = json.loads((shop.runs / SECOND.isoformat() / "metrics.json").read_bytes())
    return {name: output["auc"] for name, output in found["test"]["outputs"].items()}


def assert_published_once(shop: Shop) -> None:
    record = shop.record(SECOND.isoformat())
    assert record.outcome == "published"
    assert [stage.name for stage in record.stages] == STAGES
    assert len(shop.registry.versions()) == 2
    shop.registry.load().verify_golden()
    assert [line["event"] for line in shop.logged(SECOND.isoformat())].count("published") == 1


def test_two_do_as_one(open_shop: Shop, undisturbed: Shop, nights: Nights, tmp_path: Path) -> None:
    open_shop.set("training", batch_size=250)  # the same rows a step
    processes = nights.start_two(open_shop.command(SECOND), tmp_path)
    assert [process.wait() for process in processes] == [0, 0], processes[0].printed + processes[1].printed
    assert_published_once(open_shop)
    assert processes[1].printed == ""
    for name, value in aucs(undisturbed).items():
        assert aucs(open_shop)[name] == pytest.approx(value, abs=0.08), name


def test_killed_on_two_it_goes_on_on_one(shop_of_small_steps: Shop, nights: Nights, tmp_path: Path) -> None:
    moment = ("rename", "checkpoints/.step-", 2)
    first, second = nights.start_two(shop_of_small_steps.command(SECOND), tmp_path, moment)
    assert first.wait() == -signal.SIGKILL, first.printed
    assert second.wait() != 0  # by itself: it does not wait for one that is gone
    assert shop_of_small_steps.record(SECOND.isoformat()).done("train") is None
    record = shop_of_small_steps.night(SECOND)
    assert record.attempts == 2
    assert_published_once(shop_of_small_steps)
    assert any(
        "goes on from step" in line.get("message", "") for line in shop_of_small_steps.logged(SECOND.isoformat())
    )


def test_an_error_of_the_first_ends_both(open_shop: Shop, nights: Nights, tmp_path: Path) -> None:
    for file in open_shop.own_data().glob("*/*.parquet"):
        with_zeros(file, "conversion")
    processes = nights.start_two(open_shop.command(SECOND), tmp_path)
    assert processes[0].wait() == 2, processes[0].printed
    assert processes[1].wait() != 0
    assert open_shop.record(SECOND.isoformat()).outcome == "bad_data"
