"""Full disks, vanished files, read-only registries, stores that are down, clocks set back, two jobs at once."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import ranker.bundle_writer
import training.nightly.stages as stages
from tests.training.nightly.conftest import FIRST, SECOND, THIRD, Shop
from tests.training.nightly.processes import Nights
from tests.training.nightly.test_job import STAGES, StopBefore, summary
from training.cli import app
from training.errors import NightlyError
from training.nightly import Outcome
from training.nightly.night import Night

Mount = Callable[..., None]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a file system of its own on a folder, empty or with what was there; taken away after the test."""
    mounted: list[Path] = []

    def run(*command: str | Path) -> None:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs the right to mount: {done.stderr.strip()}")

    def mount_on(folder: Path, size_kib: int, options: str = "rw") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        content = tmp_path / f"content-{len(mounted)}"
        shutil.copytree(folder, content)
        run("mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "none", folder)
        mounted.append(folder)
        shutil.copytree(content, folder, dirs_exist_ok=True)
        run("mount", "-o", f"remount,{options}", folder)

    yield mount_on
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path, but_kib: int) -> Path:
    """Leave so much room on the disk of a folder; the file that fills it."""
    path = folder / "filler"
    left = shutil.disk_usage(folder).free - but_kib * 1024
    with path.open("wb") as file:
        file.write(b"\0" * max(left, 0))
    return path


@pytest.mark.parametrize(("stage", "but_kib"), [("check", 8), ("train", 40), ("export", 90), ("publish", 60)])
def test_a_full_disk_is_named_and_costs_nothing(
    stage: str, but_kib: int, open_shop: Shop, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = open_shop.registry.current()
    disk = open_shop.registry.root if stage == "publish" else open_shop.runs
    mount(disk, 8192)
    filled: list[Path] = []
    work = stages.STAGES[stage]

    def on_a_full_disk(night: Night) -> dict[str, Any]:
        filled.append(fill(disk, but_kib))
        return work(night)

    with monkeypatch.context() as patched:
        patched.setitem(stages.STAGES, stage, on_a_full_disk)
        failed = open_shop.night(SECOND)
    assert (failed.outcome, failed.outcome and failed.outcome.exit_code) == (Outcome.FAILED, 1)
    assert str(disk) in failed.message
    assert "space" in failed.message
    assert [done.name for done in failed.stages] == STAGES[: STAGES.index(stage)]
    assert open_shop.registry.current() == live
    open_shop.registry.load().verify_golden()
    filled[0].unlink()
    record = open_shop.night(SECOND)
    assert record.outcome is Outcome.PUBLISHED
    assert record.stages[: STAGES.index(stage)] == failed.stages
    assert all(open_shop.logged(SECOND.isoformat()))  # every line is whole JSON, the torn one's successor too


@pytest.mark.parametrize("damage", ["vanished", "truncated"])
def test_a_file_that_changes_between_check_and_reading_is_named(
    damage: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shop.own_data() / f"date={FIRST}" / "part-000.parquet"
    good, times = file.read_bytes(), file.stat()
    train = stages.STAGES["train"]

    def with_damage(night: Night) -> dict[str, Any]:
        if damage == "vanished":
            file.unlink()
        else:
            file.write_bytes(good[:1000])
        return train(night)

    with monkeypatch.context() as patched:
        patched.setitem(stages.STAGES, "train", with_damage)
        failed = shop.night(FIRST)
    assert (failed.outcome, failed.outcome and failed.outcome.exit_code) == (Outcome.BAD_DATA, 2)
    assert str(file) in failed.message
    assert [done.name for done in failed.stages] == ["check"]
    file.write_bytes(good)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    record = shop.night(FIRST)
    assert (record.outcome, record.version) == (Outcome.PUBLISHED, failed.version)


@pytest.mark.parametrize("folder", ["registry", "runs"])
def test_a_read_only_folder_is_found_before_training(folder: str, open_shop: Shop, mount: Mount) -> None:
    mount(open_shop.root / folder, 4096, "ro")
    result = CliRunner().invoke(app, open_shop.command(SECOND))
    assert result.exit_code == 1
    assert str(open_shop.root / folder) in result.stderr
    assert "Read-only" in result.stderr
    assert not (open_shop.runs / SECOND.isoformat()).exists()


@pytest.mark.parametrize("store", ["redis", "lmdb"])
def test_a_store_that_is_down_costs_the_features_only(
    store: str, open_shop: Shop, mount: Mount, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = open_shop.data.parent / "users.parquet"
    open_shop.set("nightly", features=[{"view": "users", "key": "user_id", "path": str(users)}])
    if store == "redis":
        open_shop.store = "redis://127.0.0.1:1/0"  # nobody listens there
    else:
        mount(open_shop.root / "features", 4096, "ro")
        open_shop.store = f"lmdb:{open_shop.root / 'features' / 'users'}"
    failed = open_shop.night(SECOND)
    assert (failed.outcome, failed.outcome and failed.outcome.exit_code) == (Outcome.FAILED, 1)
    assert summary(failed, "publish")["published"] is True
    assert open_shop.registry.current() == failed.version
    assert failed.done("materialize") is None
    before = open_shop.files()
    open_shop.store = redis_url if store == "redis" else f"lmdb:{open_shop.root / 'elsewhere'}"
    record = open_shop.night(SECOND)
    assert record.outcome is Outcome.PUBLISHED
    assert summary(record, "materialize")["users"] > 0
    assert record.stages[:-1] == failed.stages
    changed = {Path(name).name for name, time in open_shop.files().items() if before.get(name) != time}
    assert changed == {"run.json", "log.jsonl", "report.html"}


_now = dt.datetime.now


class SetBack(dt.datetime):
    """A clock that somebody has set three years back."""

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _now(tz) - dt.timedelta(days=3 * 365)


def test_a_clock_set_back_changes_nothing(shop_of_two: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    second = shop_of_two.registry.current()
    monkeypatch.setattr(dt, "datetime", SetBack)  # of the record, which imports the module
    monkeypatch.setattr(ranker.bundle_writer, "datetime", SetBack)
    shop_of_two.set("nightly", keep_versions=2)
    stopped = shop_of_two.night(THIRD, force=True, stop=StopBefore(shop_of_two, "publish"))
    assert stopped.outcome is Outcome.INTERRUPTED
    third = shop_of_two.night(THIRD)
    assert (third.outcome, third.version, third.attempts) == (Outcome.PUBLISHED, stopped.version, 2)
    published = shop_of_two.registry.load()
    assert published.manifest.version == third.version
    assert published.manifest.created_at < shop_of_two.registry.load(second).manifest.created_at
    assert {info.version for info in shop_of_two.registry.versions()} >= {second, third.version}
    assert shop_of_two.night(THIRD) == third
    assert shop_of_two.registry.rollback() == second


def test_of_two_jobs_at_once_the_second_gives_up(open_shop: Shop, nights: Nights) -> None:
    first = nights.start(open_shop.command(SECOND), open_shop.root / "first.txt")
    assert first.wait_until((open_shop.runs / SECOND.isoformat()).is_dir)
    code, printed = nights.run(open_shop.command(THIRD), open_shop.root / "second.txt")
    assert code == 4
    assert f"process {first.number}" in printed
    assert str(open_shop.registry.root) in printed
    assert first.running  # at once: long before the first is done
    other = open_shop.command(THIRD)
    other[other.index("--registry") + 1] = str(open_shop.root / "other")
    code, printed = nights.run(other, open_shop.root / "third.txt")
    assert code == 4
    assert f"process {first.number}" in printed
    assert str(open_shop.runs) in printed
    assert first.wait() == 0, first.printed
    assert not (open_shop.runs / THIRD.isoformat()).exists()


def test_a_registry_that_cannot_be_read_says_so(open_shop: Shop) -> None:
    (open_shop.registry.root / "current.json").write_text("{")
    result = CliRunner().invoke(app, open_shop.command(SECOND))
    assert result.exit_code == 1
    assert "current.json" in result.stderr
    with pytest.raises(NightlyError):
        open_shop.night(SECOND)
