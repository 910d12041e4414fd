"""How fast one device trains the contest's network: steps on batches that lie there, and whole epochs.

Run by `benchmarks.gpu` as a process of its own, for a CPU must not see the GPU beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.support.train_data import NUM_TABLES
from benchmarks.train_peers.contest import Contest
from benchmarks.train_peers.ours import Timed, experiment
from ranker.encoding import Encoder
from training.batches import Batch
from training.config import ExperimentConfig
from training.data import Impressions
from training.distributed import process_group
from training.run import fit_encoder
from training.trainer import Trainer

EPOCHS = 3  # the first warms up
BLOCKS = 3  # of steps, each timed as a whole
BLOCK_ROWS = 2 * 65_536
MAX_BATCHES = 16  # kept on the device


def setting(contest: Contest, placement: str, precision: str, batch_size: int) -> ExperimentConfig:
    """The contest as an experiment with its tables there, in that precision, by steps of that size."""
    config = experiment(contest)
    tables = config.training.tables.model_copy(update={"placement": placement})
    training = {"tables": tables, "precision": precision, "batch_size": batch_size}
    return config.model_copy(update={"training": config.training.model_copy(update=training)})


def measure(config: ExperimentConfig, data: Path, encoder: Encoder, num_rows: int) -> dict[str, Any]:
    """Rows per second of steps and of epochs, the share of epochs that waited for data, memory, and waits of a step."""
    progress, batch_size = Timed(), config.training.batch_size
    impressions = Impressions(data, config)
    trainer = Trainer(config, impressions, encoder, progress)
    made = impressions.batches("train", encoder, batch_size, seed=0)
    batches = [batch.to(trainer.device) for batch in islice(made, min(MAX_BATCHES, num_rows // batch_size))]
    if trainer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    steps = _rows_per_second(trainer, batches)
    found = {"steps": steps, "waits": _waits(trainer, batches[0]), "gibibytes": _peak_memory(trainer.device)}
    history = trainer.fit(num_rows)
    epochs = median(num_rows / seconds for seconds, _ in progress.seconds[1:])
    return found | {"epochs": epochs, "wait_share": median(epoch.wait_share for epoch in history.epochs[1:])}


def _rows_per_second(trainer: Trainer, batches: list[Batch]) -> float:
    """Of steps alone: median of some blocks, after one that warms up."""
    rates = []
    for _ in range(1 + BLOCKS):
        _synchronize(trainer.device)
        started, done = time.perf_counter(), 0
        while done < BLOCK_ROWS:
            for batch in batches:
                trainer.step(batch.encoded, batch.targets)
                done += batch.num_rows
        _synchronize(trainer.device)
        rates.append(done / (time.perf_counter() - started))
    return median(rates[1:])


def _waits(trainer: Trainer, batch: Batch) -> int:
    """How often one step waits for the GPU."""
    if trainer.device.type != "cuda":
        return 0
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.step(batch.encoded, batch.targets)
    torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


def _peak_memory(device: torch.device) -> float | None:
    """Most GiB that tensors took on a GPU."""
    return torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure every precision and batch size; one JSON document on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--placement", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precisions", nargs="+", required=True)
    parser.add_argument("--batch-sizes", nargs="+", type=int, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    features = tuple(f"feature_{place}" for place in range(NUM_TABLES))
    labels = ("label_first", "label_second")
    contest = Contest(asked.data, features, labels, EPOCHS, 4096, asked.threads, 0, 0.002, ())
    with process_group():
        impressions = Impressions(asked.data, experiment(contest))
        encoder = fit_encoder(impressions, None)
        num_rows = sum(rows.num_rows for rows in impressions.rows("train"))
        found = []
        for precision in asked.precisions:
            for size in asked.batch_sizes:
                config = setting(contest, asked.placement, precision, size)
                figures = measure(config, asked.data, encoder, num_rows)
                found.append({"precision": precision, "batch_size": size} | figures)
                print(found[-1], file=sys.stderr, flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
