"""Nights one after the other, and the same night again: what is published, what is kept, what is left alone."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import training.nightly.stages as stages
from feature_store import parse_store
from ranker.bundle import Bundle
from tests.training.nightly.conftest import FIRST, SECOND, STEPS_PER_EPOCH, THIRD, Shop
from training.errors import ConfigError, NightlyError
from training.nightly import Outcome, RunRecord, past_runs
from training.nightly.night import Night

STAGES = ["check", "train", "calibrate", "evaluate", "gate", "export", "publish", "materialize"]


class StopBefore:
    """Asks to stop once the stage before the named one is recorded."""

    def __init__(self, shop: Shop, stage: str) -> None:
        self.shop, self.before = shop, STAGES[STAGES.index(stage) - 1]

    def __call__(self) -> bool:
        return any(record.outcome is None and record.done(self.before) for _, record in past_runs(self.shop.runs))


def summary(record: RunRecord, stage: str) -> dict[str, Any]:
    done = record.done(stage)
    assert done is not None, stage
    return done.summary


def cannot_learn(shop: Shop) -> None:
    """Settings with which no network gets better than chance."""
    shop.set("nightly", warm_start=False)
    shop.set("training", epochs=1, dense={"learning_rate": 1e-9}, tables={"learning_rate": 1e-9})


def with_zeros(path: Path, column: str) -> None:
    table = pq.read_table(path, partitioning=None)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(np.zeros(table.num_rows, np.int8))), path)


def past_run(shop: Shop, day: str, outcome: Outcome | None) -> Path:
    """What an earlier night would have left, as far as later nights look at it."""
    folder = shop.runs / day
    for name in ("trained", "bundle"):
        (folder / name).mkdir(parents=True)
    record = RunRecord.new(date.fromisoformat(day), "0" * 16, 1, None)
    (record if outcome is None else record.with_stage("publish", 1.0, {}).ended(outcome, "")).save(folder)
    return folder


def test_the_first_night_publishes(after_first: Shop) -> None:
    record = after_first.record(FIRST.isoformat())
    assert [stage.name for stage in record.stages] == STAGES
    assert (record.outcome, record.champion, record.attempts) == (Outcome.PUBLISHED, None, 1)
    assert [info.version for info in after_first.registry.versions()] == [record.version]
    bundle = after_first.registry.load()
    bundle.verify_golden()
    assert (bundle.path / "report.html").exists()
    assert summary(record, "train")["warm_start"] is None
    assert summary(record, "train")["steps"] in (STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH)
    assert not list((after_first.runs / FIRST.isoformat()).glob(".*"))
    assert not (after_first.runs / FIRST.isoformat() / "checkpoints").exists()


def test_the_second_goes_on_from_the_first_and_is_judged_against_it(undisturbed: Shop) -> None:
    first, second = undisturbed.record(FIRST.isoformat()), undisturbed.record(SECOND.isoformat())
    assert second.champion == first.version == summary(second, "gate")["champion"]
    decision = json.loads((undisturbed.runs / SECOND.isoformat() / "gate.json").read_bytes())
    assert decision["champion_version"] == first.version
    assert decision["comparisons"]
    assert f"run {FIRST}" in summary(second, "train")["warm_start"]
    assert "optimizers go on" in summary(second, "train")["warm_start"]
    assert summary(second, "check")["compared_with"] == [FIRST.isoformat()]
    assert undisturbed.registry.current() == second.version
    old, new = (undisturbed.registry.load(r.version).encoder.vocabularies["item"].values for r in (first, second))
    assert len(new) > len(old)  # items appear every day
    assert new[: len(old)] == old


def test_the_same_night_again_does_nothing(open_shop: Shop) -> None:
    before = open_shop.files()
    record = open_shop.night(FIRST)
    assert (record.outcome, record.attempts) == (Outcome.PUBLISHED, 1)
    assert open_shop.files() == before


def test_force_begins_anew(open_shop: Shop) -> None:
    record = open_shop.night(FIRST, force=True)
    assert record.version.startswith("20260102-2-")
    assert [folder.name for folder, _ in past_runs(open_shop.runs)] == ["2026-01-02", "2026-01-02-2"]
    assert open_shop.registry.current() == record.version
    assert open_shop.night(FIRST) == record  # what is done is now the second run


def test_a_lost_runs_folder_does_not_bring_an_old_bundle_back(open_shop: Shop) -> None:
    """The same data and settings would give the same version, but what is trained now goes on from that very one."""
    live = open_shop.registry.current()
    shutil.rmtree(open_shop.runs)
    record = open_shop.night(FIRST)
    assert (record.outcome, record.champion) == (Outcome.PUBLISHED, live)
    assert open_shop.registry.current() == record.version != live
    assert f"bundle {live}" in summary(record, "train")["warm_start"]


def test_bad_data_publish_nothing_and_repaired_ones_are_a_new_run(shop: Shop) -> None:
    files = sorted(shop.own_data().glob("date=2026-01-0[12]/*.parquet"))
    good = [file.read_bytes() for file in files]
    for file in files:
        with_zeros(file, "conversion")
    record = shop.night(FIRST)
    assert (record.outcome, record.outcome and record.outcome.exit_code) == (Outcome.BAD_DATA, 2)
    assert "cvr: all" in record.message
    assert not shop.registry.versions()
    again = shop.night(FIRST)
    assert (again.outcome, again.attempts, again.version) == (Outcome.BAD_DATA, 2, record.version)
    for file, content in zip(files, good, strict=True):
        file.write_bytes(content)
    repaired = shop.night(FIRST)
    assert repaired.outcome is Outcome.PUBLISHED
    assert repaired.version.startswith("20260102-2-")
    assert shop.record(FIRST.isoformat()) == again  # left as it was


def test_a_model_that_cannot_learn_is_not_published(open_shop: Shop) -> None:
    live, pointer = open_shop.registry.current(), (open_shop.registry.root / "current.json").read_bytes()
    old = past_run(open_shop, "2025-12-30", Outcome.CHAMPION_KEPT)
    cannot_learn(open_shop)
    open_shop.set("nightly", keep_states=1)
    record = open_shop.night(SECOND)
    assert (record.outcome, record.outcome and record.outcome.exit_code) == (Outcome.CHAMPION_KEPT, 3)
    assert "auc" in record.message.lower()
    assert open_shop.registry.current() == live
    assert (open_shop.registry.root / "current.json").read_bytes() == pointer
    assert len(open_shop.registry.versions()) == 1
    assert Bundle.load(open_shop.runs / SECOND.isoformat() / "bundle").manifest.version == record.version
    assert not (old / "trained").exists()
    assert (open_shop.runs / FIRST.isoformat() / "trained").exists()  # the live one's stays, however old
    assert open_shop.night(SECOND) == record


def test_a_champion_that_changes_meanwhile_is_judged_against(
    open_shop: Shop, undisturbed: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model goes live after the gate has judged: it judges again, against that one."""
    other = undisturbed.registry.path(undisturbed.registry.current())
    export = stages.STAGES["export"]

    def export_while_another_is_published(night: Night) -> dict[str, Any]:
        if len(open_shop.registry.versions()) == 1:
            open_shop.registry.publish(other)
        return export(night)

    monkeypatch.setitem(stages.STAGES, "export", export_while_another_is_published)
    open_shop.set("training", seed=4)
    record = open_shop.night(SECOND)
    assert summary(record, "gate")["champion"] == other.name != record.champion
    bundle = Bundle.load(open_shop.runs / SECOND.isoformat() / "bundle")
    assert bundle.metrics["gate"]["champion_version"] == other.name
    events = [line["event"] for line in open_shop.logged(SECOND.isoformat())]
    assert (events.count("champion_changed"), events.count("gate")) == (1, 2)
    assert [stage.name for stage in record.stages] == STAGES


def test_a_damaged_champion_means_floors_alone_and_a_cold_start(open_shop: Shop) -> None:
    model = open_shop.registry.path(open_shop.registry.current()) / "model.pt"
    model.write_bytes(model.read_bytes()[:-1])
    record = open_shop.night(SECOND)
    assert record.outcome is Outcome.PUBLISHED
    assert summary(record, "train")["warm_start"] is None
    lines = open_shop.logged(SECOND.isoformat())
    assert "model.pt" in next(line["message"] for line in lines if line["event"] == "champion_unreadable")
    assert any("floors alone" in line["message"] for line in lines if line["event"] == "gate_warning")


def test_a_damaged_state_or_profile_costs_that_alone(open_shop: Shop) -> None:
    state = next((open_shop.runs / FIRST.isoformat() / "trained").glob("*/state.safetensors"))
    state.write_bytes(state.read_bytes()[:-1])
    (open_shop.runs / FIRST.isoformat() / "profile.json").write_text("{")
    record = open_shop.night(SECOND, stop=StopBefore(open_shop, "calibrate"))
    assert f"bundle {record.champion}" in summary(record, "train")["warm_start"]
    assert summary(record, "check")["compared_with"] == []
    events = [line["event"] for line in open_shop.logged(SECOND.isoformat())]
    assert {"state_unreadable", "profile_unreadable"} <= set(events)


def test_a_state_that_is_gone_is_never_an_untrained_network(shop: Shop) -> None:
    assert shop.night(FIRST, stop=StopBefore(shop, "calibrate")).outcome is Outcome.INTERRUPTED
    shutil.rmtree(shop.runs / FIRST.isoformat() / "trained")
    failed = shop.night(FIRST)
    assert failed.outcome is Outcome.FAILED
    assert "trained" in failed.message
    assert "--force" in failed.message
    assert not shop.registry.versions()


def test_stopped_before_any_stage_it_goes_on_there(shop: Shop, after_first: Shop) -> None:
    done: tuple[Any, ...] = ()
    stages = ("train", "calibrate", "export", "materialize")
    for attempt, stage in enumerate(stages, start=1):
        stopped = shop.night(FIRST, stop=StopBefore(shop, stage))
        assert (stopped.outcome, stopped.attempts) == (Outcome.INTERRUPTED, attempt)
        assert [each.name for each in stopped.stages] == STAGES[: STAGES.index(stage)]
        assert stopped.stages[: len(done)] == done  # none was repeated
        done = stopped.stages
    record = shop.night(FIRST)
    assert (record.outcome, record.attempts) == (Outcome.PUBLISHED, len(stages) + 1)
    assert len(shop.registry.versions()) == 1


def test_a_later_model_stays_live_when_an_earlier_night_is_finished(shop_of_two: Shop) -> None:
    """Killed right after its model went live, a night is run again only when the next one has published too."""
    killed = shop_of_two.record(SECOND.isoformat()).without("publish", "materialize").again()
    killed.save(shop_of_two.runs / SECOND.isoformat())
    later = shop_of_two.night(THIRD)
    record = shop_of_two.night(SECOND)
    assert (record.outcome, record.version) == (Outcome.PUBLISHED, killed.version)
    assert later.version in record.message
    assert shop_of_two.registry.current() == later.version
    assert len(shop_of_two.registry.versions()) == 3


def test_old_versions_and_states_are_dropped(shop_of_two: Shop) -> None:
    first, second = (info.version for info in shop_of_two.registry.versions())
    ended, unfinished = (
        past_run(shop_of_two, "2025-12-30", Outcome.FAILED),
        past_run(shop_of_two, "2025-12-31", None),
    )
    shop_of_two.set("nightly", keep_versions=2, keep_states=2)
    record = shop_of_two.night(THIRD)
    assert record.outcome is Outcome.PUBLISHED
    assert summary(record, "publish")["removed"] == [first]
    assert {info.version for info in shop_of_two.registry.versions()} == {second, record.version}
    assert not (ended / "trained").exists()
    assert not (shop_of_two.runs / FIRST.isoformat() / "trained").exists()
    assert (shop_of_two.runs / SECOND.isoformat() / "trained").exists()
    assert (unfinished / "trained").exists()  # it may still be gone on with
    assert summary(record, "check")["compared_with"] == [FIRST.isoformat(), SECOND.isoformat()]


def test_features_are_in_the_store(open_shop: Shop) -> None:
    store = f"lmdb:{open_shop.root / 'features'}"
    open_shop.store = store
    shutil.copy(open_shop.data.parent / "users.parquet", open_shop.root / f"users-{SECOND}.parquet")
    open_shop.set(
        "nightly", features=[{"view": "users", "key": "user_id", "path": str(open_shop.root / "users-{date}.parquet")}]
    )
    record = open_shop.night(SECOND)
    table = pq.read_table(open_shop.data.parent / "users.parquet")
    assert summary(record, "materialize") == {"users": table.num_rows}

    async def read(entity: str) -> Any:
        async with parse_store(store).build() as opened:
            return await opened.get_many("users", [entity])

    found = asyncio.run(read(str(table["user_id"][3])))
    assert found[0] is not None


def test_nothing_begins_with_features_and_no_store(shop: Shop) -> None:
    shop.set("nightly", features=[{"view": "users", "key": "user_id", "path": "users.parquet"}])
    with pytest.raises(ConfigError, match="--store"):
        shop.night(FIRST)
    assert not shop.runs.exists()


def test_a_damaged_record_of_that_day_is_an_error(open_shop: Shop) -> None:
    (open_shop.runs / FIRST.isoformat() / "run.json").write_text("{")
    with pytest.raises(NightlyError, match=r"run\.json.*move"):
        open_shop.night(FIRST)


def test_a_damaged_registry_is_an_error(open_shop: Shop) -> None:
    (open_shop.registry.root / "current.json").write_text("{")
    with pytest.raises(NightlyError, match=r"current\.json"):
        open_shop.night(SECOND)


def test_another_weighting_does_not_stop_the_nights(open_shop: Shop) -> None:
    open_shop.set("weighting", name="famo")
    record = open_shop.night(SECOND, stop=StopBefore(open_shop, "calibrate"))
    assert "optimizers start afresh" in summary(record, "train")["warm_start"]
