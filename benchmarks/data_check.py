"""The nightly data check: how often it cries wolf over days with nothing wrong, and how long it takes.

    python -m benchmarks.data_check --pairs 50 --rows 1000000

False alarms: pairs of consecutive days of simulated logs, each of another world, with the simulator's own daily drift
and new items. Speed: a wide log of 30 features, profiled from Parquet on one thread, beside reading it alone.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.support.results import write_results
from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.data_check import DataProfile, check, profile
from training.simulation import SimulationConfig, simulate

SIMULATED = Path(__file__).parent.parent / "configs" / "simulated.yaml"
DAYS = (dt.date(2026, 1, 1), dt.date(2026, 1, 2))
DISTINCT = [2, 3, 5, 7, 12, 24, 31, 60, 100, 250, 700, 1_500, 4_000, 9_000, 20_000, 45_000, 80_000, 150_000]
NUM_NUMERIC, NUM_LISTS = 10, 2  # beside the categorical features of so many values


def false_alarms(pairs: int, rows: int, folder: Path) -> Counter[str]:
    """Findings on the second day of so many pairs, by severity, check and subject."""
    config = load_config(SIMULATED, ("training.split={by: user}",))
    found: Counter[str] = Counter()
    for seed in range(pairs):
        log = simulate(
            SimulationConfig(num_impressions=2 * rows, num_days=2, valid_days=0, seed=seed), folder / str(seed)
        )
        first, second = (_profiled(log.impressions / f"date={day}", config, day) for day in DAYS)
        report = check(second, [first], config.data_check, DAYS[1])
        found["pairs with a finding"] += bool(report.findings)
        found["pairs with an error"] += bool(report.errors)
        found.update(f"{one.severity} {one.check} {one.subject}" for one in report.findings)
    return found


def wide_experiment() -> ExperimentConfig:
    """Thirty features of all kinds."""
    features = [{"name": f"c{place}", "side": "item", "kind": "categorical"} for place in range(len(DISTINCT))]
    features += [{"name": f"n{place}", "side": "user", "kind": "numeric"} for place in range(NUM_NUMERIC)]
    features += [{"name": f"l{place}", "side": "user", "kind": "categorical_list"} for place in range(NUM_LISTS)]
    return ExperimentConfig.model_validate(
        {
            "schema": {
                "ids": {"user": "user", "item": "c17", "request": "request", "timestamp": "time"},
                "features": features,
                "tasks": [{"name": "ctr", "label": "click"}],
            },
            "training": {"split": {"by": "user"}},
        }
    )


def wide_log(rows: int, path: Path) -> None:
    """Rows for them, all on the first day, skewed as ids are."""
    random = np.random.default_rng(1)
    midnight = int(dt.datetime.combine(DAYS[0], dt.time(), dt.UTC).timestamp()) * 1000
    columns: dict[str, Any] = {
        "user": random.integers(0, rows // 20 + 1, rows),
        "request": np.arange(rows) // 10,
        "time": pa.array(midnight + np.sort(random.integers(0, 86_400_000, rows)), pa.timestamp("ms", "UTC")),
        "click": (random.random(rows) < 0.1).astype(np.int8),
    }
    for place, distinct in enumerate(DISTINCT):
        columns[f"c{place}"] = [f"value {one}" for one in (distinct * random.random(rows) ** 3).astype(np.int64)]
    for place in range(NUM_NUMERIC):
        columns[f"n{place}"] = pa.array(random.gamma(2.0, 5.0, rows), mask=random.random(rows) < 0.05)
    for place in range(NUM_LISTS):
        offsets = np.concatenate([[0], np.cumsum(random.integers(0, 9, rows))]).astype(np.int32)
        words = pa.array([f"w{one}" for one in random.integers(0, 400, offsets[-1])])
        columns[f"l{place}"] = pa.ListArray.from_arrays(pa.array(offsets), words)
    pq.write_table(pa.table(columns), path, row_group_size=131_072)


def speed(rows: int, folder: Path, repeats: int) -> dict[str, float]:
    """Median processor seconds to profile, and to read alone."""
    config, path = wide_experiment(), folder / "wide.parquet"
    wide_log(rows, path)
    impressions = Impressions(path, config)
    return {
        "profile_cpu_seconds": _median(lambda: profile(impressions, config.data_check, DAYS[0]), repeats),
        "read_cpu_seconds": _median(lambda: sum(batch.num_rows for batch in impressions.all_rows()), repeats),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="False alarms and speed of the nightly data check.")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--day-rows", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    console = Console()
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        alarms = false_alarms(arguments.pairs, arguments.day_rows, Path(folder))
        seconds = speed(arguments.rows, Path(folder), arguments.repeats)
    console.print(f"{arguments.pairs} clean pairs of {arguments.day_rows:,} rows a day:", dict(alarms))
    ratio = seconds["profile_cpu_seconds"] / seconds["read_cpu_seconds"]
    console.print(f"{arguments.rows:,} rows, 30 features: {seconds}, {ratio:.1f} times as long as reading")
    write_results("data_check", {**vars(arguments), "false_alarms": dict(alarms), **seconds})


def _profiled(path: Path, config: ExperimentConfig, day: dt.date) -> DataProfile:
    return profile(Impressions(path, config), config.data_check, day)


def _median(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return float(np.median(taken))


if __name__ == "__main__":
    main()
