"""Two simulated days with nothing wrong, and what it takes to plant a defect in the second."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.data_check import DataCheckConfig, DataProfile, profile
from training.simulation import SimulationConfig, simulate

FIRST, SECOND = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
ROW_GROUP = 1_777  # no divisor of anything else here
LOG = SimulationConfig(num_impressions=28_000, num_days=2, num_users=900, num_items=83, valid_days=0, seed=4)

Profiled = Callable[..., DataProfile]


@pytest.fixture(scope="session")
def experiment(repository: Path) -> ExperimentConfig:
    """The shipped experiment on simulated data, split by user so that any day has all splits."""
    return load_config(repository / "configs" / "simulated.yaml", ("training.split={by: user}",))


@pytest.fixture(scope="session")
def days(tmp_path_factory: pytest.TempPathFactory) -> tuple[pa.Table, pa.Table]:
    """Both days of the log."""
    out = tmp_path_factory.mktemp("simulated") / "log"
    simulate(LOG, out)
    first, second = (pq.ParquetFile(file).read() for file in sorted(out.rglob("part-*.parquet")))
    return first, second


@pytest.fixture(scope="session")
def profiled(experiment: ExperimentConfig, tmp_path_factory: pytest.TempPathFactory) -> Profiled:
    """Writes rows as a file and profiles them; further arguments are settings of the check, or another experiment."""

    def run(
        rows: pa.Table,
        day: dt.date = SECOND,
        other: ExperimentConfig | None = None,
        row_group: int = ROW_GROUP,
        **settings: Any,
    ) -> DataProfile:
        file = tmp_path_factory.mktemp("night") / "rows.parquet"
        pq.write_table(rows, file, row_group_size=row_group)
        config = DataCheckConfig.model_validate(settings)
        return profile(Impressions(file, other or experiment), config, day, seed=6)

    return run


@pytest.fixture(scope="session")
def first(days: tuple[pa.Table, pa.Table], profiled: Profiled) -> DataProfile:
    """Profile of the first day: the reference."""
    return profiled(days[0], FIRST)


@pytest.fixture(scope="session")
def second(days: tuple[pa.Table, pa.Table], profiled: Profiled) -> DataProfile:
    """Profile of the second day as it is."""
    return profiled(days[1])
