"""A simulated log with two networks that differ in their seeds, and the way to train a third one on spoilt data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml

from ranker.calibration import Calibration
from training.config import ExperimentConfig
from training.data import Impressions
from training.distributed import process_group
from training.gate import Decision, JudgedRows, Scores, judge
from training.progress import Progress
from training.run import check_data
from training.simulation import SimulationConfig, simulate
from training.trainer import Trainer

WORLD = SimulationConfig(
    num_impressions=60_000,
    num_users=1_500,
    num_items=300,
    valid_days=1,
    test_days=3,
    base_ctr=0.2,
    base_cvr=0.3,
    drift=0.0,
    new_items_per_day=0,
)
TRAINING = {
    "split": {"by": "time", "valid_fraction": 0.1, "test_fraction": 0.3},
    "epochs": 3,
    "batch_size": 1024,
    "dense": {"learning_rate": 0.005},
    "tables": {"learning_rate": 0.03, "init_std": 0.02},
}


@dataclass(frozen=True)
class Night:
    """One trained network, and the rows that it is judged on."""

    config: ExperimentConfig
    rows: JudgedRows
    scores: Scores

    def judge(self, challenger: Scores) -> Decision:
        """Judge a challenger by this one, with the default limits."""
        return judge(self.config.data_schema, self.rows, challenger, self.scores, self.config.gate, self.config.policy)


@pytest.fixture(scope="session")
def simulated_log(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """All rows, with the day as a column."""
    folder = tmp_path_factory.mktemp("simulated") / "log"
    impressions = simulate(WORLD, folder).impressions
    return ds.dataset(impressions, format="parquet", partitioning="hive").to_table()


@pytest.fixture(scope="session")
def experiment(repository: Path) -> dict[str, Any]:
    """The experiment as the content of its YAML; not to be changed in place."""
    content: dict[str, Any] = yaml.safe_load((repository / "configs" / "simulated.yaml").read_text(encoding="utf-8"))
    model = {"name": "shared_bottom", "bottom_dims": [32], "tower_dims": [16]}
    return content | {"model": model, "weighting": {"name": "static"}, "training": TRAINING}


@pytest.fixture(scope="session")
def train_on(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Night]:
    """Trains a small network on a table, and scores its test days."""

    def train(content: dict[str, Any], table: pa.Table, seed: int) -> Night:
        config = ExperimentConfig.model_validate(content | {"training": content["training"] | {"seed": seed}})
        path = tmp_path_factory.mktemp("night") / "log.parquet"
        pq.write_table(table, path)
        impressions = Impressions(path, config)
        with process_group():
            counts, encoder = check_data(impressions)
            trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
            trainer.fit(counts["train"]["rows"])
            valid, test = trainer.predict("valid"), trainer.predict("test")
        calibration = Calibration.fit(config.data_schema, valid.raw, *valid.masks(), config.calibration)
        return Night(config, JudgedRows.of(test, calibration), Scores.of(test, calibration, f"seed {seed}"))

    return train


@pytest.fixture(scope="session")
def champion(train_on: Callable[..., Night], experiment: dict[str, Any], simulated_log: pa.Table) -> Night:
    """What is live."""
    return train_on(experiment, simulated_log, 1)
