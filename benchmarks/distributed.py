"""Two processes over gloo against one: the same quality, a run that moves from two to one, and throughput.

    python -m benchmarks.distributed               # simulate, train, judge and keep; then print the tables
    python -m benchmarks.distributed --markdown    # the tables of the figures that are kept

Every run is `ranker-train train`, under `torchrun` where there are two processes. Quality: the same seeds, and as many
rows in a step of two processes together as in one of a single process. "2, then 1": SIGTERM in the first epoch ends
the two at a safe point, the same command alone goes on from their checkpoint, and what it exports is held against the
state that it trained. Throughput: as many rows a step and process, one thread and a core of its own for each process;
two runs that know nothing of each other show what the machine allows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.support.results import RESULTS, write_results
from benchmarks.support.train_job import Job, wait
from training.comparison.paired import paired_difference
from training.distributed import process_group
from training.simulation import SimulationConfig, simulate

CONFIG = Path(__file__).parent.parent / "configs" / "simulated.yaml"
OUTPUTS = ("ctr", "cvr", "ctcvr")
PARTS = ("throughput", "quality")
ONE, TWO, MOVED, APART = "1 process", "2 processes", "2, then 1", "2 runs that know nothing of each other"
ROWS, EPOCHS, BATCH = 200_000, 6, 512  # the batch of each of two processes
SPEED_EPOCHS = 3  # the first warms up
SAVED_AFTER = 1.5  # seconds: within the first epoch, so that the best one comes after the move
SPEED = (
    "model={name: mmoe, num_experts: 4, expert_dims: [256, 128], tower_dims: [64]}",
    "weighting={name: static}",
    "training.batch_size=4096",
)


def quality(log: Path, folder: Path, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Train every seed on one process, on two, and on two and then one."""
    found = []
    for seed in seeds:
        common = (f"training.seed={seed}", f"training.epochs={EPOCHS}", f"training.early_stopping.patience={EPOCHS}")
        half = (*common, f"training.batch_size={BATCH}", f"training.checkpoints.every_seconds={SAVED_AFTER}")
        one = Job(log, folder / f"one-{seed}", CONFIG, (*common, f"training.batch_size={2 * BATCH}"))
        two, moved = Job(log, folder / f"two-{seed}", CONFIG, half), Job(log, folder / f"moved-{seed}", CONFIG, half)
        one.finish(1)
        two.finish(2)
        stopped = moved.stop_midway()
        moved.finish(1)
        auc = {name: job.auc() for name, job in ((ONE, one), (TWO, two), (MOVED, moved))}
        end = {"stopped": stopped, "best_epoch": moved.best_epoch(), "export_error": moved.export_error()}
        found.append({"seed": seed, "auc": auc, **end})
        told = ", ".join(f"{name} {one['ctr']:.4f}" for name, one in auc.items())
        print(f"seed {seed}: AUC of ctr {told}; {stopped}, best {moved.best_epoch()}", flush=True)
    return found


def throughput(log: Path, folder: Path, rounds: int) -> list[dict[str, float]]:
    """Rows per second of one process, of two, and of two that know nothing of each other, in turn."""
    found = []
    for number in range(rounds):
        job = partial(Job, log, config=CONFIG, settings=(*SPEED, f"training.epochs={SPEED_EPOCHS}"))
        one, two, left, right = (job(folder / f"{name}-{number}") for name in ("alone", "both", "left", "right"))
        wait(one.start(1, pinned_to=0))
        wait(two.start(2, pinned_to=0))
        for process in [each.start(1, pinned_to=core) for core, each in enumerate((left, right))]:
            wait(process)
        rates = {ONE: one.rate(), TWO: two.rate(), APART: left.rate() + right.rate()}
        found.append(rates)
        print(
            f"round {number + 1}, rows per second: {', '.join(f'{k} {v:,.0f}' for k, v in rates.items())}", flush=True
        )
    return found


def markdown(figures: dict[str, Any]) -> str:
    """The figures as the tables of `docs/training.md`."""
    tables = {"throughput": _throughput_table, "quality": _quality_table}
    return "\n\n".join(table(figures[part]) for part, table in tables.items() if part in figures)


def _quality_table(seeds: Sequence[Any]) -> str:
    lines = ["| test AUC, mean (standard deviation) | ctr | cvr | ctcvr |", "|---|---|---|---|"]
    for name in (ONE, TWO, MOVED):
        cells = [_mean([seed["auc"][name][output] for seed in seeds]) for output in OUTPUTS]
        lines.append(f"| {' | '.join([name, *cells])} |")
    for name in (TWO, MOVED):
        cells = [_difference(seeds, name, output) for output in OUTPUTS]
        lines.append(f"| {name}, less {ONE} (95 %) | {' | '.join(cells)} |")
    trained, golden = (
        max(seed["export_error"][key] for seed in seeds) for key in ("to_trained_state", "to_golden_rows")
    )
    end = f"{MOVED}: bundle to trained state at most {trained:.1e}, to its golden rows at most {golden:.1e}."
    return "\n".join([*lines, "", f"{len(seeds)} seeds. {end}"])


def _throughput_table(rounds: Sequence[Any]) -> str:
    lines = ["| one core each | rows per second, median | growth, median (range) |", "|---|---|---|"]
    for name in (ONE, TWO, APART):
        growth = [found[name] / found[ONE] for found in rounds]
        cells = f"{np.median(growth):.2f} ({min(growth):.2f} to {max(growth):.2f})" if name != ONE else ""
        lines.append(f"| {name} | {np.median([found[name] for found in rounds]):,.0f} | {cells} |")
    return "\n".join([*lines, "", f"{len(rounds)} rounds in turn."])


def _mean(values: Sequence[float]) -> str:
    spread = f" ({np.std(values, ddof=1):.4f})" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def _difference(seeds: Sequence[Any], name: str, output: str) -> str:
    own, alone = ([seed["auc"][each][output] for seed in seeds] for each in (name, ONE))
    if len(own) == 1:
        return f"{own[0] - alone[0]:+.4f}"
    found = paired_difference(own, alone)
    return f"{found.mean:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def kept() -> dict[str, Any]:
    """The figures of earlier calls."""
    path = RESULTS / "distributed.json"
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return figures


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description="One process against two: quality, a run that moves, throughput.")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[*range(21, 25), *range(31, 39)], help="of training, on one log"
    )
    parser.add_argument("--rounds", type=int, default=5, help="of the throughput")
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=PARTS, help="what to run; the rest is kept")
    parser.add_argument("--anew", action="store_true", help="forget the seeds of earlier calls, which are kept")
    parser.add_argument("--markdown", action="store_true", help="print the tables of the kept figures, train nothing")
    arguments = parser.parse_args()
    if not arguments.markdown:
        torch.set_num_threads(1)
        found: dict[str, Any] = {}
        with tempfile.TemporaryDirectory() as name, process_group():
            folder = Path(name)
            log = simulate(SimulationConfig(num_impressions=ROWS), folder / "log").impressions
            if "throughput" in arguments.parts:
                found["throughput"] = throughput(log, folder, arguments.rounds)
            if "quality" in arguments.parts:
                earlier = [] if arguments.anew else kept().get("quality", [])
                seeds = [seed for seed in arguments.seeds if seed not in {each["seed"] for each in earlier}]
                found["quality"] = earlier + quality(log, folder, seeds)
        figures = kept() | found
        write_results("distributed", {"rows": ROWS, "epochs": EPOCHS, **{k: figures[k] for k in PARTS if k in figures}})
    print(markdown(kept()))


if __name__ == "__main__":
    main()
