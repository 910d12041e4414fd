"""A small shop to serve: two trained bundles in a registry, and features of its users and items in a store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ranker.registry import Registry
from serving.bench import Ids, Workload

ROOT = Path(__file__).parents[2]
CONTEXT = {"hour": 21, "device": "ios"}
_IMPRESSIONS = 60_000


@dataclass(frozen=True, slots=True)
class Shop:
    """One folder; made by the programs themselves.

    Attributes:
        folder: Absolute.
    """

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Shop:
        """The shop in a folder, made there first if it is not there whole. Takes about twenty seconds."""
        shop = cls(folder.resolve())
        if not (shop.folder / "complete").exists():
            shutil.rmtree(shop.folder, ignore_errors=True)
            shop.folder.mkdir(parents=True)
            shop._build()
            (shop.folder / "complete").touch()
        return shop

    @property
    def registry(self) -> Registry:
        """Two versions of one experiment, trained with different seeds."""
        return Registry(self.folder / "registry")

    @property
    def versions(self) -> tuple[str, ...]:
        """Their names, the older first."""
        return tuple(info.version for info in self.registry.versions())

    @property
    def store(self) -> str:
        """The embedded feature store, as the command line names it."""
        return f"lmdb:{self.folder / 'features'}?map_size_bytes={2**28}"

    def fill(self, store: str) -> None:
        """Put all users and items into a feature store."""
        for view in ("user", "item"):
            rows = str(self.folder / "log" / f"{view}s.parquet")
            _run("feature_store.cli", "materialize", rows, "--view", view, "--key", f"{view}_id", "--store", store)

    def workload(self, num_candidates: tuple[int, ...] = (100, 300, 500)) -> Workload:
        """Requests of its users."""
        return Workload(Ids.numbered("u{}", 5_000), Ids.numbered("i{}", 1_000), num_candidates, context=CONTEXT)

    def _build(self) -> None:
        log = self.folder / "log"
        _run("training.cli", "simulate", "--out", str(log), "--impressions", str(_IMPRESSIONS))
        for seed in (1, 2):
            options = ["--data", str(log / "impressions"), "--out", str(self.folder / f"run{seed}")]
            options += ["--registry", str(self.folder / "registry")]
            options += ["--set", "training.epochs=1", "--set", f"training.seed={seed}"]
            _run("training.cli", "train", str(ROOT / "configs" / "demo.yaml"), *options)
        self.fill(self.store)


def _run(module: str, *arguments: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{module} {arguments[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
