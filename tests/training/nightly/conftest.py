"""A small shop with a log of several days, and nights on it that take a few seconds each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from ranker.registry import Registry
from tests.training.nightly.processes import Nights
from training.config import ExperimentConfig
from training.nightly import Paths, RunRecord, nightly
from training.nightly.log import NightLog
from training.simulation import SimulationConfig, simulate

Settings = dict[str, Any]

FIRST, SECOND, THIRD = date(2026, 1, 2), date(2026, 1, 3), date(2026, 1, 4)
WORLD = SimulationConfig(
    num_impressions=10_000, num_users=150, num_items=70, num_days=5, new_items_per_day=3, base_ctr=0.3, base_cvr=0.4,
    seed=11,
)  # fmt: skip
STEPS_PER_EPOCH = 5

SETTINGS: Settings = {
    "schema": {
        "ids": {"user": "user_id", "item": "item_id", "request": "request_id", "timestamp": "timestamp"},
        "features": [
            {"name": "segment", "side": "user", "kind": "categorical", "embedding_dim": 4},
            {"name": "item", "source": "item_id", "side": "item", "kind": "categorical", "embedding_dim": 8,
             "encoding": {"kind": "vocabulary", "min_count": 1}},
            {"name": "price", "side": "item", "kind": "numeric", "transforms": ["log1p", "standardize"]},
        ],
        "tasks": [
            {"name": "ctr", "label": "click"},
            {"name": "cvr", "label": "conversion", "space": {"where": {"click": 1}}},
        ],
    },
    "model": {"name": "shared_bottom", "bottom_dims": [16], "tower_dims": [9], "dropout": 0.1},
    "training": {
        "split": {"by": "time", "valid_fraction": 0.15, "test_fraction": 0.25},
        "epochs": 2,
        "batch_size": 500,
        "eval_batch_size": 700,
        "shuffle_rows": 1100,
        "dense": {"learning_rate": 0.01},
        "checkpoints": {"every_seconds": 0},
        "seed": 3,
    },
    "export": {"golden_rows": 19},
    "gate": {"floors": {"predicted_over_observed": None}, "resamples": 100},
    "nightly": {"window_days": 2},
}  # fmt: skip


@dataclass
class Shop:
    """Where the nights of a test read and write, and how they are set."""

    root: Path
    data: Path
    settings: Settings = field(default_factory=lambda: deepcopy(SETTINGS))
    store: str | None = None
    metrics: Path | None = None

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def registry(self) -> Registry:
        return Registry(self.root / "registry")

    @property
    def config(self) -> ExperimentConfig:
        return ExperimentConfig.model_validate(self.settings)

    @property
    def paths(self) -> Paths:
        return Paths(str(self.data), self.runs, self.registry.root, self.store, self.metrics)

    def set(self, section: str, **values: Any) -> None:
        """Change settings of a section, like `training.dense`."""
        content = self.settings
        for key in section.split("."):
            content = content.setdefault(key, {})
        content.update(values)

    def night(self, day: date, *, force: bool = False, stop: Callable[[], bool] = lambda: False) -> RunRecord:
        """One night in this process."""
        return nightly(self.config, day, self.paths, NightLog(as_json=True), stop=stop, force=force)

    def command(self, day: date, *more: str) -> list[str]:
        """The same night as arguments of `ranker-train`."""
        config = self.root / "experiment.yaml"
        config.write_text(yaml.safe_dump(self.settings), encoding="utf-8")
        named = ["--config", config, "--data", self.data, "--registry", self.registry.root, "--runs", self.runs]
        named += ["--store", self.store] if self.store else []
        return ["nightly", *map(str, named), "--date", day.isoformat(), *more]

    def own_data(self) -> Path:
        """A copy of the log that the test may damage."""
        copied = self.root / "impressions"
        shutil.copytree(self.data, copied)
        self.data = copied
        return copied

    def logged(self, folder: str) -> list[dict[str, Any]]:
        """The lines of a run's log."""
        return [json.loads(line) for line in (self.runs / folder / "log.jsonl").read_text("utf-8").splitlines()]

    def record(self, folder: str) -> RunRecord:
        """What a run has recorded."""
        found = RunRecord.load(self.runs / folder)
        assert found is not None
        return found

    def files(self) -> dict[str, int]:
        """Every file of runs and registry but locks, with the time of its last change."""
        found = [path for folder in (self.runs, self.registry.root) for path in folder.rglob("*")]
        files = [path for path in found if path.is_file() and path.suffix != ".lock"]
        return {str(path.relative_to(self.root)): path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="session")
def impressions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log; read-only for tests."""
    return simulate(WORLD, tmp_path_factory.mktemp("shop") / "log").impressions


@pytest.fixture
def shop(tmp_path: Path, impressions: Path) -> Shop:
    """A shop before its first night."""
    return Shop(tmp_path, impressions)


@pytest.fixture(scope="session")
def after_first(tmp_path_factory: pytest.TempPathFactory, impressions: Path) -> Shop:
    """A shop after its first night; read-only for tests."""
    shop = Shop(tmp_path_factory.mktemp("first"), impressions)
    assert shop.night(FIRST).outcome == "published"
    return shop


@pytest.fixture
def open_shop(shop: Shop, after_first: Shop) -> Shop:
    """A shop of the test's own after its first night."""
    for folder in ("runs", "registry"):
        shutil.copytree(after_first.root / folder, shop.root / folder)
    return shop


@pytest.fixture(scope="session")
def undisturbed(after_first: Shop, tmp_path_factory: pytest.TempPathFactory, impressions: Path) -> Shop:
    """A shop after two nights that nothing disturbed; read-only for tests."""
    shop = Shop(tmp_path_factory.mktemp("undisturbed"), impressions)
    for folder in ("runs", "registry"):
        shutil.copytree(after_first.root / folder, shop.root / folder)
    assert shop.night(SECOND).outcome == "published"
    return shop


@pytest.fixture
def shop_of_two(shop: Shop, undisturbed: Shop) -> Shop:
    """A shop of the test's own after two nights."""
    for folder in ("runs", "registry"):
        shutil.copytree(undisturbed.root / folder, shop.root / folder)
    return shop


@pytest.fixture(scope="session")
def nights() -> Iterator[Nights]:
    """Starts nights as processes of their own."""
    with Nights() as started:
        yield started
