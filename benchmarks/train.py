"""How fast a model trains: against torch-rechub and DeepCTR-Torch in turn, and against its own matrix products.

    python -m benchmarks.train --data ../shared/data/census_income_kdd/census_income_kdd_cat33.parquet
    python -m benchmarks.train --markdown    # the tables of the figures that are kept

MMoE of 4 experts [256, 128] and towers [64], 16 columns a table, batches of 4,096, two tasks; as many epochs for all.
The learning rate of each is the one of `LEARNING_RATES` that is best on the validation rows, all else its own default;
the epoch that is best on them is judged on the test rows. An epoch is timed from reading to its last
step: ours reads and encodes the Parquet file anew in each, the others loop over codes that lie in memory. The first,
which warms up, does not count. Rows per second are by the clock; beside them, of the processor: those hardly change
where other programs run. The peers get an environment of their own, build/peers/.venv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.support.results import RESULTS, machine, write_results
from benchmarks.support.train_data import census_columns, write_big_tables
from benchmarks.support.train_step import measure
from benchmarks.train_peers.contest import Contest

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data" / "census_income_kdd" / "census_income_kdd_cat33.parquet"
KEPT = RESULTS / "train.json"
PEERS = ROOT / "build" / "peers" / ".venv"
OURS, RECHUB, DEEPCTR = "ours", "torch-rechub", "DeepCTR-Torch"
SCRIPTS = {OURS: "ours", "ours, as by default": "ours", RECHUB: "rechub", DEEPCTR: "deepctr"}
EXTRAS = {"ours, as by default": ("fp32",)}
TARGETS = {"cat33": 3.5, "big tables": 4.5}  # times torch-rechub
TUNING_SEED = 1000
LEARNING_RATES = (0.0005, 0.001, 0.002, 0.004)
RATES = {"rows_per_second": "rows/s", "rows_per_processor_second": "rows/s of the processor"}


def install_peers() -> None:
    """Make the peers' environment, once."""
    if (PEERS / "complete").exists():
        return
    requirements = Path(__file__).parent / "train_peers"
    subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
    pip = [str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", str(requirements / "requirements.txt")], check=True)
    subprocess.run([*pip, "--no-deps", "-r", str(requirements / "requirements-no-deps.txt")], check=True)
    (PEERS / "complete").touch()


def train(name: str, contest: Contest) -> dict[str, Any]:
    """One training in a process of its own; medians over its epochs, the first left out."""
    python = sys.executable if SCRIPTS[name] == "ours" else str(PEERS / "bin" / "python")
    contest = replace(contest, extra=EXTRAS.get(name, ()))
    command = [python, "-W", "ignore", "-m", f"benchmarks.train_peers.{SCRIPTS[name]}", *contest.arguments()]
    environment = {**os.environ, "OMP_NUM_THREADS": str(contest.threads)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome | {rate: median(outcome[rate][1:]) for rate in RATES}


def tune(contest: Contest, names: Sequence[str]) -> dict[str, float]:
    """The learning rate of every library that is best on the validation rows, from one training with each."""
    chosen: dict[str, tuple[float, float]] = {}
    for script, name in {SCRIPTS[name]: name for name in reversed(names)}.items():
        for rate in LEARNING_RATES:
            outcome = train(name, replace(contest, seed=TUNING_SEED, learning_rate=rate))
            auc = sum(outcome["validation_auc"].values()) / len(outcome["validation_auc"])
            print(f"learning rate {rate}, {name}: validation AUC {auc:.5f}", flush=True)
            chosen[script] = max(chosen.get(script, (0.0, 0.0)), (auc, rate))
    return {name: chosen[SCRIPTS[name]][1] for name in names}


def compete(contest: Contest, learning_rates: dict[str, float], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Every library in turn, `rounds` times."""
    names = list(learning_rates)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            found[name].append(train(name, replace(contest, seed=number, learning_rate=learning_rates[name])))
            print(f"round {number + 1}, {name}: {found[name][-1]['rows_per_second']:,.0f} rows/s", flush=True)
    return found


def summary(outcomes: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Medians over the rounds, and rates as multiples of torch-rechub's, each of the same round."""
    lines: dict[str, dict[str, Any]] = {}
    for name, rounds in outcomes.items():
        line: dict[str, Any] = {rate: median(each[rate] for each in rounds) for rate in RATES}
        for rate in RATES:
            pairs = zip(rounds, outcomes[RECHUB], strict=True)
            line[f"{rate}_ratio"] = median(each[rate] / peer[rate] for each, peer in pairs)
        line["auc"] = {task: median(each["auc"][task] for each in rounds) for task in rounds[0]["auc"]}
        lines[name] = line
    return lines


def markdown(title: str, contest: dict[str, Any]) -> str:
    """One contest as the tables of `docs/speed.md`."""
    head = f"{title}: {contest['threads']} threads, {contest['rounds']} rounds of {contest['epochs']} epochs"
    lines = [
        head,
        "",
        "| library | learning rate | rows/s | ratio | rows/s of the processor | ratio | test AUC |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, line in contest["summary"].items():
        learning_rate = contest["learning_rates"][name]
        rates = " | ".join(f"{line[rate]:,.0f} | {line[rate + '_ratio']:.2f}" for rate in RATES)
        lines.append(
            f"| {name} | {learning_rate:g} | {rates} | {', '.join(f'{auc:.4f}' for auc in line['auc'].values())} |"
        )
    parts = list(next(iter(contest["step"].values()))["parts"])
    lines += ["", f"| precision | step, ms | its products alone, ms | share | {' | '.join(parts)} |"]
    lines.append("|---" * (4 + len(parts)) + "|")
    for precision, step in contest["step"].items():
        shares = " | ".join(f"{share:.0%}" for share in (step["share_of_floor"], *step["parts"].values()))
        lines.append(f"| {precision} | {step['step_ms']:.1f} | {step['products_ms']:.1f} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the census file, categorical columns only")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every library")
    parser.add_argument("--libraries", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--learning-rates", nargs="+", type=float, help="of each library, in place of looking for them")
    parser.add_argument("--contests", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--markdown", action="store_true", help="print the figures that are kept, and end")
    asked = parser.parse_args()
    if asked.markdown:
        print("\n\n".join(markdown(*each) for each in json.loads(KEPT.read_bytes())["contests"].items()))
        return
    install_peers()
    names = list(dict.fromkeys([*asked.libraries, RECHUB]))
    settings = {"epochs": asked.epochs, "rounds": asked.rounds, "threads": asked.threads}
    kept = json.loads(KEPT.read_bytes())["contests"] if KEPT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "big_tables.parquet"
        columns = {"cat33": census_columns(), "big tables": write_big_tables(big)}
        paths = {"cat33": asked.data, "big tables": big}
        for title in asked.contests:
            contest = Contest(paths[title], *columns[title], asked.epochs, 4096, asked.threads, 0, 0.0, ())
            rates = (
                tune(contest, names)
                if asked.learning_rates is None
                else dict(zip(names, asked.learning_rates, strict=True))
            )
            outcomes = compete(contest, rates, asked.rounds)
            lines = summary(outcomes)
            ours = replace(contest, learning_rate=rates[OURS])
            steps = {precision: measure(ours, precision) for precision in ("bf16", "fp32")}
            measured = {"learning_rates": rates, "summary": lines, "outcomes": outcomes, "step": steps}
            kept[title] = {"machine": machine(), **settings, **measured}
            print(f"{markdown(title, kept[title])}\n\nwanted: {TARGETS[title]} times {RECHUB}")
            print(f"kept in {write_results('train', {'contests': kept})}", flush=True)


if __name__ == "__main__":
    main()
