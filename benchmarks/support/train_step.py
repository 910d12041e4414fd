"""Where the time of a training step goes, and what its matrix products alone would take."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.train_peers.contest import EXPERT_DIMS, NUM_EXPERTS, TOWER_DIMS, Contest
from benchmarks.train_peers.ours import experiment
from training.batches import Batch
from training.data import Impressions
from training.distributed import process_group
from training.progress import Progress
from training.run import fit_encoder
from training.trainer import Trainer

NUM_BATCHES, NUM_TURNS = 8, 4
PARTS = {  # of a profile: the first whose words a kernel's name has
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::linear"),
    "tables": ("fbgemm", "embedding"),
    "activations": ("relu", "threshold", "clamp_min", "softmax", "sigmoid", "binary_cross_entropy"),
    "copies and casts": ("copy", "cat", "clone", "fill", "zero_"),
    "sums and products by element": ("aten::sum", "aten::mul", "aten::add", "aten::div", "aten::where"),
    "dense optimizer and norms": ("adam", "norm", "Optimizer"),
    "everything else": ("",),
}


def measure(contest: Contest, precision: str) -> dict[str, Any]:
    """Processor milliseconds of a step, of its products alone, and of its parts; on one thread."""
    torch.set_num_threads(1)
    config = experiment(contest)
    config = config.model_copy(update={"training": config.training.model_copy(update={"precision": precision})})
    with process_group():
        impressions = Impressions(contest.data, config)
        trainer = Trainer(config, impressions, encoder := fit_encoder(impressions, None), Progress(quiet=True))
        batches: list[Batch] = []
        for batch in impressions.batches("train", encoder, contest.batch_size, seed=0):
            batches.append(batch)
            if len(batches) == NUM_BATCHES:
                break

        def step(batch: Batch) -> None:
            trainer.step(batch.encoded, batch.targets)

        for batch in batches:
            step(batch)
        taken = [_milliseconds(partial(step, batch)) for _ in range(NUM_TURNS) for batch in batches]
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for batch in batches:
                step(batch)
        width = trainer.network.embedding.output_dim
    floor = _products(contest, width, precision)
    whole = median(taken)
    return {"step_ms": whole, "products_ms": floor, "share_of_floor": floor / whole, "parts": _parts(profiler)}


def _products(contest: Contest, width: int, precision: str) -> float:
    """Milliseconds of all matrix products of a step, forward and backward, each on dense operands by itself."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    first, *deeper = EXPERT_DIMS
    tasks = len(contest.labels)
    shapes = [(width, NUM_EXPERTS * first, 1, dtype)]
    shapes += [(below, above, NUM_EXPERTS, dtype) for below, above in zip(EXPERT_DIMS, deeper, strict=False)]
    shapes += [(width, NUM_EXPERTS, tasks, torch.float32), (EXPERT_DIMS[-1], TOWER_DIMS[0], tasks, dtype)]
    total = 0.0
    for below, above, count, kind in shapes:
        x, weight = torch.randn(contest.batch_size, below, dtype=kind), torch.randn(below, above, dtype=kind)
        gradient = torch.randn(contest.batch_size, above, dtype=kind)
        for one, other in ((x, weight), (gradient, weight.T), (x.T, gradient)):
            product = partial(torch.matmul, one, other)
            total += count * median(_milliseconds(product) for _ in range(3 * NUM_TURNS))
    return total


def _parts(profiler: profile) -> dict[str, float]:
    """Share of every part of `PARTS` in the time of all kernels."""
    times = dict.fromkeys(PARTS, 0.0)
    for event in profiler.key_averages():
        part = next(part for part, words in PARTS.items() if any(word in event.key for word in words))
        times[part] += event.self_cpu_time_total
    whole = sum(times.values())
    return {part: spent / whole for part, spent in times.items()}


def _milliseconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    started = time.process_time()
    work()
    return 1e3 * (time.process_time() - started)
