"""A registry never points at anything incomplete, however publishing ends, and always knows the way back."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ranker.atomic import partial_path
from ranker.bundle import Bundle, Manifest
from ranker.errors import BundleError, RegistryError
from ranker.registry import Registry, new_version

NUM_BUNDLES = 5


@pytest.fixture(scope="session")
def bundles(make_parts: Callable[[int], Any], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Bundles of different models, oldest first."""
    folder = tmp_path_factory.mktemp("bundles")
    return [make_parts(seed).write(folder / f"run{seed}").path for seed in range(NUM_BUNDLES)]


@pytest.fixture(scope="session")
def names(bundles: list[Path]) -> list[str]:
    """Their versions."""
    return [Manifest.load(bundle).version for bundle in bundles]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """An empty one, its folder not yet there."""
    return Registry(tmp_path / "registry")


def _hidden(registry: Registry) -> list[Path]:
    return [path for path in registry.root.rglob(".*") if path.name != ".lock"]


def _history(registry: Registry) -> list[str]:
    return [info.version for info in registry.versions() if info.is_previous]


# ------------------------------------------------------------------------------------------------------ publish, read


def test_a_published_bundle_is_current_and_loads(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    assert registry.publish(bundles[0]) == names[0]
    assert registry.current() == names[0]
    assert registry.path(names[0]) == registry.root / "versions" / names[0]
    assert registry.load().verify_golden() <= 1e-6
    assert registry.load(names[0]).manifest == Bundle.load(bundles[0]).manifest


def test_publishing_without_activating_keeps_the_current_one(
    registry: Registry, bundles: list[Path], names: list[str]
) -> None:
    registry.publish(bundles[0])
    assert registry.publish(bundles[1], activate=False) == names[1]
    assert registry.current() == names[0]
    assert registry.load(names[1]).manifest.version == names[1]


def test_the_bundle_itself_may_go_once_published(registry: Registry, bundles: list[Path], tmp_path: Path) -> None:
    own = shutil.copytree(bundles[0], tmp_path / "own")
    registry.publish(own)
    shutil.rmtree(own)
    assert registry.load().verify_golden() <= 1e-6


def test_a_version_is_published_once(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    registry.publish(bundles[0])
    registry.publish(bundles[1])
    with pytest.raises(RegistryError, match=f"'{names[0]}' is published already"):
        registry.publish(bundles[0])
    assert registry.current() == names[1]


def test_versions_are_listed_oldest_first(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    assert registry.versions() == []
    for index in (2, 0, 1):
        registry.publish(bundles[index])
    infos = registry.versions()
    assert [info.version for info in infos] == names[:3]
    assert [info.version for info in infos if info.is_current] == [names[1]]
    assert [info.version for info in infos if info.is_previous] == [names[0]]
    assert all(info.manifest is not None and info.created_at == info.manifest.created_at for info in infos)
    assert all(info.created_at is not None and info.created_at <= datetime.now(UTC) for info in infos)


def test_a_version_whose_manifest_is_broken_is_listed_with_its_problem(
    registry: Registry, bundles: list[Path], names: list[str]
) -> None:
    registry.publish(bundles[0])
    registry.publish(bundles[1])
    (registry.path(names[1]) / "manifest.json").write_text("{}")
    broken, whole = registry.versions()
    assert (broken.version, broken.manifest, broken.created_at) == (names[1], None, None)
    assert "manifest.json" in str(broken.problem)
    assert (whole.version, whole.problem) == (names[0], None)


# ----------------------------------------------------------------------------------------------------------- bad input


def test_a_registry_without_a_current_version_says_what_to_do(registry: Registry, bundles: list[Path]) -> None:
    for call in (registry.current, registry.load, registry.rollback):
        with pytest.raises(RegistryError, match=r"no current version; publish a bundle: ranker-train publish"):
            call()
    registry.publish(bundles[0], activate=False)
    with pytest.raises(RegistryError, match="ranker-train publish"):
        registry.current()


@pytest.mark.parametrize("version", ["nowhere", "", "..", "../../etc", "a/b", ".hidden", "a\n", "/etc", "a\0b", "é"])
def test_unknown_and_unsafe_versions_are_refused(
    registry: Registry, bundles: list[Path], names: list[str], version: str
) -> None:
    registry.publish(bundles[0])
    for call in (registry.path, registry.load, registry.activate):
        with pytest.raises(RegistryError, match=f"no version.*{names[0]}|`version` must be a plain name"):
            call(version)
    assert registry.current() == names[0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "null",
        '{"format": 1, "version": "../x", "history": [], "activated_at": "2026-01-01T00:00:00Z"}',
        '{"format": 2, "version": "x", "history": [], "activated_at": "2026-01-01T00:00:00Z"}',
        '{"format": 1, "version": "x", "history": [], "activated_at": "2026-01-01T00:00:00"}',
        '{"format": 1, "version": "x", "history": [], "activated_at": "2026-01-01T00:00:00Z", "more": 1}',
    ],
)
def test_an_unreadable_pointer_is_refused_and_can_be_mended(
    registry: Registry, bundles: list[Path], names: list[str], content: str
) -> None:
    registry.publish(bundles[0])
    pointer = registry.root / "current.json"
    pointer.write_text(content)
    with pytest.raises(RegistryError, match=rf"current\.json' cannot be read.*remove it and activate.*{names[0]}"):
        registry.current()
    pointer.unlink()
    registry.activate(names[0])
    assert registry.current() == names[0]


def test_what_is_no_bundle_is_not_published(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is no bundle"):
        registry.publish(tmp_path / "nowhere")
    assert not registry.root.exists()


@pytest.mark.parametrize("name", ["model.pt", "encoder/numeric.json", "golden.parquet", "metrics.json"])
def test_a_spoiled_bundle_is_not_published(
    registry: Registry, bundles: list[Path], names: list[str], tmp_path: Path, name: str
) -> None:
    registry.publish(bundles[0])
    spoiled = Path(shutil.copytree(bundles[1], tmp_path / "spoiled"))
    content = bytearray((spoiled / name).read_bytes())
    content[len(content) // 2] ^= 1
    (spoiled / name).write_bytes(content)
    with pytest.raises(BundleError, match=re.escape(name)):
        registry.publish(spoiled)
    assert registry.current() == names[0]
    assert [info.version for info in registry.versions()] == [names[0]]
    assert _hidden(registry) == []


def test_a_version_spoiled_since_is_not_activated(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    registry.publish(bundles[0])
    registry.publish(bundles[1])
    (registry.path(names[0]) / "model.pt").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.pt"):
        registry.activate(names[0])
    with pytest.raises(BundleError, match=r"model\.pt"):
        registry.rollback()
    assert registry.current() == names[1]


def test_a_renamed_version_is_refused(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    registry.publish(bundles[0])
    registry.path(names[0]).rename(registry.root / "versions" / "other")
    with pytest.raises(BundleError, match=f"holds version '{names[0]}', not 'other'"):
        registry.load("other")
    with pytest.raises(RegistryError, match=f"no version '{names[0]}'"):
        registry.load()


# ----------------------------------------------------------------------------------------------- activate and roll back


def test_rolling_back_goes_back_step_by_step(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    for bundle in bundles[:3]:
        registry.publish(bundle)
    assert registry.rollback() == registry.current() == names[1]
    assert registry.rollback() == registry.current() == names[0]
    with pytest.raises(RegistryError, match=f"nothing was current before '{names[0]}'"):
        registry.rollback()
    assert registry.current() == names[0]


def test_after_a_roll_back_publishing_goes_on(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    registry.publish(bundles[0])
    registry.publish(bundles[1])
    registry.rollback()
    registry.publish(bundles[2])
    assert _history(registry) == [names[0]]
    assert registry.rollback() == names[0]


def test_activating_what_is_current_does_not_lengthen_the_way_back(
    registry: Registry, bundles: list[Path], names: list[str]
) -> None:
    registry.publish(bundles[0])
    registry.publish(bundles[1])
    registry.activate(names[1])
    registry.activate(names[1])
    assert registry.rollback() == names[0]


def test_activating_an_old_version_can_be_rolled_back(
    registry: Registry, bundles: list[Path], names: list[str]
) -> None:
    for bundle in bundles[:3]:
        registry.publish(bundle)
    registry.activate(names[0])
    assert registry.current() == names[0]
    assert registry.rollback() == names[2]


def test_what_was_verified_just_now_is_activated_if_it_is_still_there(
    registry: Registry, bundles: list[Path], names: list[str]
) -> None:
    for bundle in bundles[:2]:
        registry.publish(bundle)
    registry.activate(names[0], verified=True)
    assert registry.current() == names[0]
    shutil.rmtree(registry.path(names[1]))
    with pytest.raises(RegistryError, match=names[1]):
        registry.activate(names[1], verified=True)
    assert registry.current() == names[0]


# ---------------------------------------------------------------------------------------------------------------- keep


def test_keep_removes_the_oldest(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    for bundle in bundles:
        registry.publish(bundle)
    assert registry.keep(2) == names[:3]
    assert [info.version for info in registry.versions()] == names[3:]
    assert registry.rollback() == names[3]
    with pytest.raises(RegistryError, match="nothing was current before"):
        registry.rollback()
    assert _hidden(registry) == []


def test_keep_never_removes_the_current_or_the_previous_one(
    registry: Registry, bundles: list[Path], names: list[str]
) -> None:
    for bundle in bundles:
        registry.publish(bundle)
    registry.activate(names[1])
    registry.activate(names[0])
    assert registry.keep(1) == names[2:4]
    assert [info.version for info in registry.versions()] == [names[0], names[1], names[4]]
    assert registry.current() == names[0]
    assert registry.rollback() == names[1]


def test_keeping_more_than_there_are_removes_nothing(registry: Registry, bundles: list[Path]) -> None:
    registry.publish(bundles[0], activate=False)
    registry.publish(bundles[1], activate=False)
    assert registry.keep(2) == []
    assert registry.keep(9) == []
    assert len(registry.versions()) == 2


@pytest.mark.parametrize("n", [0, -3])
def test_keep_refuses_to_keep_nothing(registry: Registry, n: int) -> None:
    with pytest.raises(ValueError, match=f"`n` must be at least 1, got {n}"):
        registry.keep(n)


def test_keep_interrupted_anywhere_leaves_a_way_back_that_exists(
    registry: Registry, bundles: list[Path], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for bundle in bundles:
        registry.publish(bundle)
    with monkeypatch.context() as broken:
        broken.setattr("ranker.registry.remove_folder", _fail)
        with pytest.raises(OSError, match="disk full"):
            registry.keep(2)
    assert registry.rollback() == names[3]
    with pytest.raises(RegistryError, match="nothing was current before"):
        registry.rollback()


# ------------------------------------------------------------------------------------------------------------ atomicity


def _fail(*args: object, **kwargs: object) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize(
    ("step", "published"),
    [
        ("ranker.registry.shutil.copytree", False),
        ("ranker.registry.Bundle.load", False),
        ("ranker.registry.Bundle.verify_golden", False),
        ("ranker.atomic.os.fsync", False),
        ("ranker.atomic.os.rename", False),
        ("ranker.registry.replace_file", True),
        ("ranker.atomic.os.replace", True),
    ],
)
def test_a_failure_at_any_step_of_publishing_keeps_the_current_version(
    registry: Registry,
    bundles: list[Path],
    names: list[str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    published: bool,
) -> None:
    registry.publish(bundles[0])
    with monkeypatch.context() as broken:
        broken.setattr(step, _fail)
        with pytest.raises(OSError, match="disk full"):
            registry.publish(bundles[1])
    assert registry.current() == names[0]
    assert registry.load().verify_golden() <= 1e-6
    assert [info.version for info in registry.versions()] == names[: 1 + published]
    assert _hidden(registry) == []
    # Whatever happened, the way forward is open.
    registry.activate(names[1]) if published else registry.publish(bundles[1])
    assert registry.current() == names[1]


KILLED_PUBLISH = """
import os, signal, sys
import ranker.atomic, ranker.registry
from ranker.registry import Registry

root, bundle, module, name, skip = sys.argv[1:]
owner = {"shutil": ranker.registry.shutil, "os": ranker.atomic.os}[module]
original, calls = getattr(owner, name), [0]

def kill(*args, **kwargs):
    calls[0] += 1
    if calls[0] > int(skip):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args, **kwargs)

setattr(owner, name, kill)
Registry(root).publish(bundle)
"""


@pytest.mark.parametrize(
    ("module", "name", "skip", "published"),
    [("shutil", "copyfile", 3, False), ("os", "rename", 0, False), ("os", "replace", 0, True)],
    ids=["while copying", "before the version appears", "before it becomes current"],
)
def test_a_killed_publisher_never_leaves_the_registry_incomplete(
    registry: Registry, bundles: list[Path], names: list[str], module: str, name: str, skip: int, published: bool
) -> None:
    registry.publish(bundles[0])
    arguments = [str(registry.root), str(bundles[1]), module, name, str(skip)]
    done = subprocess.run([sys.executable, "-c", KILLED_PUBLISH, *arguments], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert _hidden(registry), "the kill came too late to leave anything behind"
    assert registry.current() == names[0]
    assert registry.load().verify_golden() <= 1e-6
    assert [info.version for info in registry.versions()] == names[: 1 + published]
    for info in registry.versions():
        assert registry.load(info.version).verify_golden() <= 1e-6
    # The next one to change the registry clears the remains away and is not held up by the dead one's lock.
    registry.activate(names[1]) if published else registry.publish(bundles[1])
    assert registry.current() == names[1]
    assert _hidden(registry) == []


def test_readers_during_changes_see_only_whole_versions(registry: Registry, bundles: list[Path]) -> None:
    registry.publish(bundles[0])
    problems: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                registry.load()
                registry.versions()
            except (BundleError, RegistryError) as error:
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for bundle in bundles[1:]:
        registry.publish(bundle)
    registry.rollback()
    done.set()
    reader.join()
    assert problems == []


def test_publishers_take_turns(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    threads = [threading.Thread(target=registry.publish, args=(bundle,)) for bundle in bundles[:3]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [info.version for info in registry.versions()] == names[:3]
    order = [registry.current(), registry.rollback(), registry.rollback()]
    assert sorted(order) == names[:3]


def test_files_of_others_are_left_alone(registry: Registry, bundles: list[Path], names: list[str]) -> None:
    registry.publish(bundles[0])
    (registry.root / "README").write_text("ours")
    (registry.root / "versions" / ".snapshot").mkdir()
    partial_path(registry.root / "versions" / "dead").mkdir()
    registry.publish(bundles[1])
    assert (registry.root / "README").read_text() == "ours"
    assert _hidden(registry) == [registry.root / "versions" / ".snapshot"]
    assert [info.version for info in registry.versions()] == names[:2]


def test_new_versions_are_unique_sort_by_time_and_are_valid_names(registry: Registry) -> None:
    fresh = [new_version() for _ in range(40)]
    assert len(set(fresh)) == 40
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", version) for version in fresh)
    stamps = [version.split("-")[0] for version in fresh]
    assert stamps == sorted(stamps)
    with pytest.raises(RegistryError, match="no version"):
        registry.path(fresh[0])
