"""Which run a night goes on with, and under which name a new one begins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ranker.errors import DataError
from tests.training.nightly.conftest import FIRST, Shop
from training.errors import NightlyError
from training.nightly import Outcome, RunRecord
from training.nightly.begin import begin

PARTIAL = ".bundle.0a1b2c3d.partial"


def start(shop: Shop, *, force: bool = False) -> tuple[Path, RunRecord]:
    return begin(shop.config, FIRST, shop.paths, force)


def test_a_new_run_is_whole_from_the_first_moment(shop: Shop) -> None:
    folder, record = start(shop)
    assert folder == shop.runs / FIRST.isoformat()
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "run.json"]
    assert RunRecord.load(folder) == record
    assert (record.number, record.attempts, record.champion, record.stages) == (1, 1, None, ())


def test_an_unfinished_one_goes_on(shop: Shop) -> None:
    folder, record = start(shop)
    half = record.with_stage("check", 1.0, {}).ended(Outcome.FAILED, "no space")
    half.save(folder)
    (folder / PARTIAL).mkdir()
    (shop.runs / ".2026-01-02.0a1b2c3d.partial").mkdir()
    again, found = start(shop)
    assert again == folder
    assert (found.attempts, found.outcome, found.stages) == (2, None, half.stages)
    assert not list(shop.runs.rglob("*.partial"))


@pytest.mark.parametrize("outcome", [Outcome.PUBLISHED, Outcome.CHAMPION_KEPT])
def test_one_that_is_done_stays_done_whatever_has_changed(outcome: Outcome, shop: Shop) -> None:
    folder, record = start(shop)
    record.ended(outcome, "").save(folder)
    shop.set("training", seed=99)
    assert start(shop)[1].outcome is outcome
    forced, anew = start(shop, force=True)
    assert (forced.name, anew.number, anew.attempts) == ("2026-01-02-2", 2, 1)


def test_other_settings_or_other_data_begin_anew(shop: Shop) -> None:
    _, first = start(shop)
    shop.set("training", seed=99)
    _, second = start(shop)
    file = shop.own_data() / f"date={FIRST}" / "part-000.parquet"
    _, third = start(shop)
    file.touch()
    folder, fourth = start(shop)
    assert [run.number for run in (first, second, third, fourth)] == [1, 2, 3, 4]
    assert len({run.fingerprint for run in (first, second, third, fourth)}) == 4
    assert start(shop)[0] == folder


def test_no_name_is_used_twice(shop: Shop) -> None:
    (shop.runs / "2026-01-02").mkdir(parents=True)  # somebody's, without a record
    (shop.runs / "2026-01-02" / "trained").mkdir()
    assert start(shop)[0].name == "2026-01-02-2"
    folder, record = start(shop, force=True)
    assert (folder.name, record.number) == ("2026-01-02-3", 3)
    shutil.rmtree(shop.runs / "2026-01-02-2")
    assert start(shop, force=True)[0].name == "2026-01-02-4"


def test_a_version_that_the_registry_has_is_not_taken_again(open_shop: Shop) -> None:
    shutil.rmtree(open_shop.runs)
    folder, record = start(open_shop)
    assert (folder.name, record.number) == ("2026-01-02-2", 2)
    assert record.champion == open_shop.registry.current()


def test_errors_name_what_is_wrong(open_shop: Shop) -> None:
    (open_shop.registry.root / "current.json").write_text("{")
    with pytest.raises(NightlyError, match=r"registry .*current\.json"):
        start(open_shop, force=True)
    open_shop.data = open_shop.root / "nothing"
    with pytest.raises(DataError, match="nothing"):
        start(open_shop)
