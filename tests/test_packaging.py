"""Locks, versions and programs: what is installed is what is written down, and no more than a side needs."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("cpu", "gpu", "serving", "dev")
INPUTS = {
    "cpu": ("serving", "training"),
    "gpu": ("serving", "training", "gpu"),
    "serving": ("serving",),
    "dev": ("dev",),
}
ACCELERATORS = re.compile(r"(nvidia|cuda|triton|fbgemm)")


def lock(name: str) -> dict[str, str]:
    """A lock file as versions by package."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {package: version for package, _, version in (line.partition("==") for line in lines)}


def wanted(name: str) -> set[str]:
    """Names of the packages that an input file asks for."""
    lines = (ROOT / "requirements" / f"{name}.in").read_text().splitlines()
    stripped = (line.partition("#")[0].strip() for line in lines)
    return {canonicalize_name(Requirement(line).name) for line in stripped if line}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    loaded: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return loaded


@pytest.mark.parametrize("name", LOCKS)
def test_lock_lines_are_a_name_and_a_version(name: str) -> None:
    for line in (ROOT / "requirements" / f"{name}.txt").read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_what_their_inputs_ask_for(name: str) -> None:
    asked = set().union(*(wanted(source) for source in INPUTS[name]))
    locked = {**lock(name), **(lock("cpu") if name == "dev" else {})}
    assert asked <= set(locked)


def test_cpu_and_gpu_differ_by_accelerators_only() -> None:
    cpu, gpu = lock("cpu"), lock("gpu")
    assert {package for package, _ in cpu.items() ^ gpu.items() if not ACCELERATORS.match(package)} == set()
    assert cpu["fbgemm-gpu-cpu"] == gpu["fbgemm-gpu"]


def test_server_lock_is_a_part_of_the_runtime_lock() -> None:
    assert lock("serving").items() < lock("cpu").items()
    assert not {"torchrec", "fbgemm-gpu-cpu", "tensorboard", "scikit-learn"} & set(lock("serving"))


def test_tools_do_not_pin_the_runtime_again() -> None:
    assert not set(lock("dev")) & set(lock("gpu"))


def test_installed_packages_are_the_locked_ones() -> None:
    # Not all of sys.path: setuptools, once imported, puts packages there that only it uses
    here = importlib.metadata.distributions(path=[sysconfig.get_path("purelib")])
    installed = {str(canonicalize_name(one.name)): one.version.split("+")[0] for one in here}
    runtime = lock("gpu" if "fbgemm-gpu" in installed else "cpu")
    assert {name: installed.get(name) for name in (runtime | lock("dev"))} == runtime | lock("dev")


def test_changelog_knows_the_version(project: dict[str, Any]) -> None:
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert project["version"] in headings
    assert importlib.metadata.version(project["name"]) == project["version"]


@pytest.mark.parametrize("program", ["ranker-train", "ranker-serve", "ranker-features"])
def test_programs_start(program: str, project: dict[str, Any]) -> None:
    assert program in project["scripts"]
    done = subprocess.run(
        [Path(sys.executable).with_name(program), "--help"], capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout


def test_server_needs_no_more_than_its_lock() -> None:
    locked = set(lock("serving"))
    owners = importlib.metadata.packages_distributions()
    absent = [
        module
        for module, names in owners.items()
        if not {canonicalize_name(name) for name in names} & (locked | {"ranking-service"})
    ]
    code = f"""
import sys
class Absent:
    names = frozenset({absent!r})
    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"{{name}} is not in requirements/serving.txt", name=name)
sys.meta_path.insert(0, Absent())
import ranker.bundle, ranker.registry, serving.app, serving.cli, feature_store.cli
"""
    subprocess.run([sys.executable, "-c", code], check=True)
