"""A few training steps on fixed batches, as one process or as each of several: what `test_distributed.py` compares.

Run: `python several_steps.py CONFIG.yaml DATA.parquet OUT`, under torchrun's variables for several processes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist
from torch import Tensor

from ranker.encoding import Encoder
from training.batches import encode_batch
from training.config import ExperimentConfig, load_config
from training.data import Impressions
from training.distributed import average, gather_rows, process_group, total
from training.network import Network
from training.predictions import predict
from training.step import Step

VARIANTS: dict[str, tuple[str, ...]] = {
    "static": ("weighting={name: static}", "training.tables.name=sgd"),
    "exact": ("weighting={name: pe_ltr, bounds: 0.1, gram: {every: 1, decay: 0.0}}",),
    "between": ("weighting={name: pe_ltr, bounds: 0.1, gram: {every: 2, decay: 0.5}}", "model={name: ple}"),
    "last_shared": ("weighting={name: gradnorm, gram: {scope: last_shared, every: 1, decay: 0.0}}",),
    "famo": ("weighting={name: famo}",),
    "representation": ("weighting={name: pe_ltr, gram: {every: 1, decay: 0.0, scope: representation}}",),
}
BATCHES = ((0, 65), (65, 112), (112, 113))  # global rows; of the last one some process gets none


def several_steps(config: ExperimentConfig, data: Path) -> dict[str, Any]:
    """Losses, Gram matrices and weights of every step, and the whole state and predictions after the last."""
    impressions = Impressions(data, config)
    encoder = Encoder.fit(config.data_schema, impressions.rows("train"))
    network = Network(config, encoder, torch.device("cpu"))
    step = Step(
        network.embedding,
        network.architecture,
        config.model.objective(config.data_schema),
        config.weighting.build(config.data_schema.task_names),
        config.gram,
        torch.optim.SGD(network.architecture.parameters(), lr=0.1),
        max_gradient_norm=10.0,
        max_bad_steps=3,
    )
    grams = _recorded(step)
    rows = pa.Table.from_batches(list(impressions.rows("train")))
    results = []
    for start, stop in BATCHES:
        bounds = np.linspace(start, stop, dist.get_world_size() + 1).astype(int)
        first, last = bounds[dist.get_rank() :][:2]
        batch = encode_batch(encoder, rows.slice(first, last - first))
        results.append(step(batch.encoded, batch.targets))
    return {
        "losses": torch.stack([result.losses_T for result in results]),
        "weights": torch.stack([result.weights_T for result in results]),
        "grams": grams,
        "state": network.state(),
        "predictions": {
            task: torch.from_numpy(raw) for task, raw in predict(network, impressions, encoder, "valid", 50).raw.items()
        },
    }


def exchanges() -> dict[str, Any]:
    """What the exchanges between processes give for tensors that depend on the rank."""
    rank = dist.get_rank()
    pair = [torch.full((2, 3), float(rank)), torch.full((5,), 10.0 * rank)]
    average(pair)
    return {
        "average": pair,
        "total": total(torch.tensor([1.0, float(rank)])),
        "gather_rows": gather_rows(torch.full((3 - 2 * rank, 2), rank)),
        "gather_none": gather_rows(torch.full((rank, 2), rank)),
    }


def _recorded(step: Step) -> list[Tensor]:
    """Where the Gram matrices of a step will be found, as measured."""
    found: list[Tensor] = []
    if step.average is not None:
        update = step.average.update

        def record(gram_TT: Tensor, active_T: Tensor) -> Tensor:
            found.append(gram_TT)
            return update(gram_TT, active_T)

        step.average.update = record  # type: ignore[method-assign]
    return found


def main(config: Path, data: Path, out: Path) -> None:
    """Run every variant and save what this process saw."""
    with process_group():
        seen = {name: several_steps(load_config(config, overrides), data) for name, overrides in VARIANTS.items()}
        torch.save({**seen, "exchanges": exchanges()}, out / f"rank{dist.get_rank()}.pt")
        dist.barrier()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
