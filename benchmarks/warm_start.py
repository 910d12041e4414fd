"""Seven nights of a drifting log with new items: yesterday's model, going on from it, and training from scratch.

    python -m benchmarks.warm_start               # simulate, run every night, judge and keep; then print the tables
    python -m benchmarks.warm_start --markdown    # the tables of the figures that are kept

A second call goes on with the seeds that are missing.

Every night is a whole `ranker-train nightly` of `configs/nightly.yaml`, gate included. What it makes is judged on all
rows of the day after its data, the first that it could have served, which no way has seen. All ways share the first
night, and differ afterwards in `nightly.window_days` and `nightly.warm_start` alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.nights import Nights, judge
from benchmarks.support.nights_plot import plot_nights
from benchmarks.support.results import RESULTS, write_results
from training.comparison.paired import paired_difference
from training.config import load_config
from training.distributed import process_group
from training.nightly import Outcome, RunRecord
from training.simulation import SimulationConfig, simulate

# Shapes: S = seeds, N = nights

ROOT = Path(__file__).parent.parent
CONFIG, PLOT = ROOT / "configs" / "nightly.yaml", ROOT / "docs" / "images" / "warm_start.svg"
NUM_NIGHTS = 7
OUTPUTS = ("ctr", "cvr", "ctcvr")
SCRATCH, FIRST, YESTERDAY = "from scratch", "first night's model", "yesterday's model"
GOING_ON = "warm start, 7 days"
WAYS: dict[str, tuple[str, ...]] = {
    "warm start, newest day": ("nightly.window_days=1",),
    GOING_ON: (),
    SCRATCH: ("nightly.warm_start=false",),
}
FEATURES_OFF = "nightly.features=[]"


def world(seed: int, rows_per_day: int) -> SimulationConfig:
    """A week to begin with, the nights, and a day to judge the last one on."""
    days = 7 + NUM_NIGHTS + 1
    return SimulationConfig(
        num_impressions=days * rows_per_day, num_days=days, drift=0.1, new_items_per_day=20, seed=seed
    )


def nights(seed: int, rows_per_day: int, folder: Path) -> list[dict[str, Any]]:
    """All nights of one world; of each the metrics, the time and the ids of every way to train."""
    log = simulate(world(seed, rows_per_day), folder / "log").impressions
    settings = (FEATURES_OFF, f"training.seed={seed}")
    first = world(seed, rows_per_day).start_date + timedelta(days=6)
    shared = Nights(log, folder / "shared")
    shared.run(load_config(CONFIG, settings), first)
    ways = {name: shared.copy(folder / name) for name in WAYS}
    found = []
    for number in range(1, NUM_NIGHTS + 1):
        day = first + timedelta(days=number)
        tomorrow = day + timedelta(days=1)
        old = {FIRST: shared.bundle(first), YESTERDAY: ways[GOING_ON].bundle(day - timedelta(days=1))}
        row = {name: {"metrics": judge(bundle, log, tomorrow)} for name, bundle in old.items()}
        for name, way in ways.items():
            row[name] = _night(way, (*settings, *WAYS[name]), day)
        found.append(row)
        _tell(seed, number, row)
    return found


def _night(way: Nights, settings: tuple[str, ...], day: date) -> dict[str, Any]:
    config = load_config(CONFIG, settings)
    started = time.process_time()
    record = way.run(config, day)
    seconds = {"cpu": time.process_time() - started, **_seconds(record)}
    assert record.outcome in (Outcome.PUBLISHED, Outcome.CHAMPION_KEPT), record.message
    ids = way.ids(config, day)._asdict() if config.nightly.warm_start else None
    metrics = judge(way.bundle(day), way.log, day + timedelta(days=1))
    return {"metrics": metrics, "outcome": record.outcome, "seconds": seconds, "ids": ids}


def _seconds(record: RunRecord) -> dict[str, float]:
    each = {stage.name: stage.seconds for stage in record.stages}
    return {"train": each["train"], "night": sum(each.values())}


def _tell(seed: int, number: int, row: dict[str, dict[str, Any]]) -> None:
    told = [f"{name} {one['metrics']['ctr/auc']:.4f}" for name, one in row.items()]
    print(f"seed {seed}, night {number}, AUC of ctr: {'; '.join(told)}", flush=True)


def auc_SN(runs: Sequence[Any], name: str, output: str) -> np.ndarray:
    """AUC of a way by seed and night."""
    return np.array([[night[name]["metrics"][f"{output}/auc"] for night in run] for run in runs])


def markdown(figures: dict[str, Any]) -> str:
    """The figures as the tables of `docs/experiments/warm_start.md`."""
    runs = [run["nights"] for run in figures["runs"]]
    names = list(runs[0][0])
    lines = [
        "| model | ctr | cvr | ctcvr | seconds, train | seconds, night | published |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in names:
        means = [f"{auc_SN(runs, name, output).mean():.4f}" for output in OUTPUTS]
        lines.append(f"| {' | '.join([name, *means, *_costs(runs, name)])} |")
    for baseline in (SCRATCH, YESTERDAY):
        lines += ["", f"| AUC less {baseline} (95 %) | ctr | cvr | ctcvr |", "|---|---|---|---|"]
        for name in (name for name in names if name != baseline):
            cells = [_difference(runs, name, baseline, output) for output in OUTPUTS]
            lines.append(f"| {' | '.join([name, *cells])} |")
    lines += ["", f"| AUC of ctr, night | {' | '.join(map(str, range(1, NUM_NIGHTS + 1)))} |"]
    lines += [f"|---{'|---' * NUM_NIGHTS}|"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(f'{auc:.4f}' for auc in auc_SN(runs, name, 'ctr').mean(axis=0))} |")
    return "\n".join([*lines, "", _ids(runs)])


def _costs(runs: Sequence[Any], name: str) -> list[str]:
    every = [night[name] for run in runs for night in run]
    if "seconds" not in every[0]:
        return ["–", "–", "–"]
    medians = [f"{np.median([one['seconds'][part] for one in every]):.1f}" for part in ("train", "night")]
    return [*medians, f"{sum(one['outcome'] == Outcome.PUBLISHED for one in every)} of {len(every)}"]


def _difference(runs: Sequence[Any], name: str, baseline: str, output: str) -> str:
    own, other = (auc_SN(runs, each, output).mean(axis=1).tolist() for each in (name, baseline))
    if len(own) == 1:
        return f"{own[0] - other[0]:+.4f}"
    found = paired_difference(own, other)
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _ids(runs: Sequence[Any]) -> str:
    every = [night[GOING_ON]["ids"] for run in runs for night in run]
    kept, new = (sum(ids[part] for ids in every) for part in ("kept", "new"))
    return (
        f"{len(every)} warm starts: {kept:,} rows of tables kept bit by bit, {new:,} appended, none moved or changed."
    )


def plot(figures: dict[str, Any]) -> None:
    """Draw `docs/images/warm_start.svg`."""
    runs = [run["nights"] for run in figures["runs"]]
    auc = {
        output: {name: (auc_SN(runs, name, output) - auc_SN(runs, SCRATCH, output)).tolist() for name in runs[0][0]}
        for output in ("ctr", "cvr")
    }
    seconds = {name: [[night[name]["seconds"]["train"] for night in run] for run in runs] for name in WAYS}
    plot_nights(auc, seconds, PLOT)


def kept(rows_per_day: int) -> list[dict[str, Any]]:
    """Seeds that an earlier call ran on as many rows."""
    path = RESULTS / "warm_start.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: list[dict[str, Any]] = figures["runs"] if figures.get("rows_per_day") == rows_per_day else []
    return found


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description="Yesterday's model, warm start and training from scratch, 7 nights.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13], help="a log and a network for each")
    parser.add_argument("--rows", type=int, default=15_000, help="impressions a day")
    parser.add_argument("--anew", action="store_true", help="also the seeds that are kept")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the kept figures, train nothing")
    arguments = parser.parse_args()
    if not arguments.markdown:
        torch.set_num_threads(1)
        runs = [] if arguments.anew else kept(arguments.rows)
        for seed in arguments.seeds:
            if seed in {run["seed"] for run in runs}:
                continue
            with tempfile.TemporaryDirectory() as folder, process_group():
                runs.append({"seed": seed, "nights": nights(seed, arguments.rows, Path(folder))})
            write_results("warm_start", {"rows_per_day": arguments.rows, "runs": runs})
    figures = json.loads((RESULTS / "warm_start.json").read_text(encoding="utf-8"))
    plot(figures)
    print(markdown(figures))


if __name__ == "__main__":
    main()
