"""Does the step wait for data, and does memory grow with them? Simulated logs of several sizes, read and trained on.

Each size has a process of its own: it checks the log, fits the encoder, trains on the first steps of an epoch, and
reads the rest of that epoch without training. Resident memory is sampled all the while.

python -m benchmarks.reading --rows 1000000 20000000 --train-seconds 60
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.support.memory import MemoryCurve
from benchmarks.support.reading_plot import plot_reading
from benchmarks.support.results import write_results
from ranker.encoding import Encoder
from training.ahead import Ahead
from training.config import load_config
from training.data import Impressions
from training.distributed import process_group
from training.progress import Progress
from training.simulation import SimulationConfig, simulate
from training.trainer import Trainer

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "configs" / "simulated.yaml"
PLOT = ROOT / "docs" / "images" / "reading.svg"
BYTES_PER_ROW = 60  # on disk, with room to spare


def read(log: Path, train_seconds: float) -> dict[str, Any]:
    """Everything that is measured at one size."""
    config = load_config(CONFIG)
    memory = MemoryCurve()
    with memory.sampling(), process_group():
        impressions = Impressions(log, config)
        with memory.phase("check") as check:
            num_train = impressions.check()["train"]["rows"]
        with memory.phase("fit") as fit:
            encoder = Encoder.fit(impressions.schema, impressions.rows("train"))
        trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
        batch_size = config.training.batch_size
        with memory.phase("train") as train, Ahead(impressions.batches("train", encoder, batch_size, 1)) as batches:
            steps = 0
            for batch in batches:
                trainer.step(batch.encoded, batch.targets)
                steps += 1
                memory.rows_read += batch.num_rows
                if train.seconds >= train_seconds:
                    break
        num_trained = memory.rows_read
        with memory.phase("stream") as stream:
            for batch in impressions.batches("train", encoder, batch_size, 1, start=steps):
                memory.rows_read += batch.num_rows
    assert memory.rows_read == num_train, "an epoch is every row once"
    return {
        "rows": impressions.num_rows,
        "train_rows": num_train,
        "check_rows_per_second": impressions.num_rows / check.seconds,
        "fit_rows_per_second": num_train / fit.seconds,
        "steps": steps,
        "trained_rows": num_trained,
        "train_seconds": train.seconds,
        "train_rows_per_second": num_trained / train.seconds,
        "wait_share": batches.seconds_waited / train.seconds,
        "streamed_rows": num_train - num_trained,
        "reader_rows_per_second": (num_train - num_trained) / stream.seconds,
        "reader_rows_per_cpu_second": (num_train - num_trained) / stream.cpu_seconds,
        "peak_megabytes": max(memory.megabytes),
        "memory": memory.to_dict(),
    }


@contextmanager
def simulated(num_rows: int) -> Iterator[Path]:
    """A log on disk, removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        needed, free = num_rows * BYTES_PER_ROW, shutil.disk_usage(folder).free
        if free < needed:
            raise SystemExit(f"{num_rows:,} rows need {needed:,} bytes in '{folder}', {free:,} are free")
        yield simulate(SimulationConfig(num_impressions=num_rows), Path(folder) / "log").impressions


def in_a_process_of_its_own(log: Path, train_seconds: float) -> dict[str, Any]:
    """What `read` finds, in a process that has held no other log."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.reading", "--log", str(log)]
    command += ["--train-seconds", str(train_seconds)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout)
    return found


def main() -> None:
    """Run, print, plot and keep."""
    parser = argparse.ArgumentParser(description="Waiting for data, and memory, over the number of rows.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 5_000_000, 20_000_000], help="sizes of logs")
    parser.add_argument("--train-seconds", type=float, default=60.0, help="of each size; the rest of the epoch is read")
    parser.add_argument("--log", type=Path, help="measure this log alone, and print JSON")
    arguments = parser.parse_args()
    if arguments.log is not None:
        print(json.dumps(read(arguments.log, arguments.train_seconds)))
        return
    sizes = []
    for num_rows in arguments.rows:
        started = time.perf_counter()
        with simulated(num_rows) as log:
            written = time.perf_counter() - started
            sizes.append(in_a_process_of_its_own(log, arguments.train_seconds))
        print(f"{num_rows:,} rows, written in {written:.0f} s: {_sentence(sizes[-1])}", flush=True)
    write_results("reading", {"train_seconds": arguments.train_seconds, "sizes": sizes})
    plot_reading(sizes, PLOT)
    print("\n".join(table(sizes)))


def table(sizes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The figures as Markdown."""
    yield "| rows on disk | rows trained on | steps | rows/s | waited | rows read alone | rows per CPU second | peak |"
    yield "|---|---|---|---|---|---|---|---|"
    for found in sizes:
        trained = f"{found['trained_rows']:,} | {found['steps']:,} | {found['train_rows_per_second']:,.0f}"
        alone = f"{found['streamed_rows']:,} | {found['reader_rows_per_cpu_second']:,.0f}"
        peak = f"{found['peak_megabytes']:,.0f} MB"
        yield f"| {found['rows']:,} | {trained} | {found['wait_share']:.1%} | {alone} | {peak} |"


def _sentence(found: dict[str, Any]) -> str:
    return (
        f"waits {found['wait_share']:.2%} of {found['train_seconds']:.0f} s of training at "
        f"{found['train_rows_per_second']:,.0f} rows/s; reader alone {found['reader_rows_per_second']:,.0f} rows/s, "
        f"{found['reader_rows_per_cpu_second']:,.0f} per CPU second; check {found['check_rows_per_second']:,.0f}, "
        f"fit {found['fit_rows_per_second']:,.0f} rows/s; peak {found['peak_megabytes']:,.0f} MB"
    )


if __name__ == "__main__":
    main()
