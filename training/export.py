"""From a trained network to a verified bundle: the only place that scripts a model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist

from ranker.bundle import Bundle, write_bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.errors import BundleError
from training.config import ExperimentConfig
from training.data import Impressions
from training.network import Network
from training.predictions import outputs_of


def export_bundle(
    path: Path,
    *,
    config: ExperimentConfig,
    network: Network,
    encoder: Encoder,
    calibration: Calibration,
    impressions: Impressions,
    metrics: dict[str, Any],
    data: dict[str, Any],
    version: str,
    report: str | None = None,
) -> Bundle | None:
    """Script the network, hold it against the eager one on real rows, and write the bundle.

    Every process has to call this, for its share of the tables; only the first one writes.

    Args:
        path: Folder to create.
        config: The experiment.
        network: Trained.
        encoder: The one it was trained with.
        calibration: Fitted maps from raw outputs to probabilities.
        impressions: Test rows become the golden ones.
        metrics: What evaluation found.
        data: Where the training rows came from.
        version: Name of the version.
        report: A page of HTML that stays with the bundle.

    Returns:
        The bundle as read back; None on all processes but the first.

    Raises:
        BundleError: Scripted and eager outputs differ by more than `export.tolerance`; nothing is written.
    """
    rows = golden_rows(impressions, config.export.golden_rows)
    eager = dict(outputs_of(network, encoder, rows))
    graph = script(network)
    if dist.get_rank() != 0:
        return None
    encoded = encoder.encode(rows)
    with torch.inference_mode():
        scripted = graph(*encoded.request, *encoded.item, torch.arange(rows.num_rows))
    for task, expected in eager.items():
        difference = float(np.abs(scripted[task].numpy() - expected).max())
        if not difference <= config.export.tolerance:
            raise BundleError(
                f"TorchScript and eager outputs of task '{task}' differ by {difference:.3g} on "
                f"{rows.num_rows} test rows, "
                f"more than export.tolerance {config.export.tolerance:g}; nothing was written"
            )
    return write_bundle(
        path,
        graph=graph,
        schema=config.data_schema,
        encoder=encoder,
        calibration=calibration,
        fusion=config.policy,
        metrics=metrics,
        golden_rows=rows,
        golden_outputs=calibration.apply(eager),
        data=data,
        version=version,
        golden_tolerance=config.export.tolerance,
        report=report,
    )


def script(network: Network) -> torch.jit.ScriptModule:
    """The network as TorchScript, in eval mode."""
    with warnings.catch_warnings():
        # torch has deprecated TorchScript as a whole; bundles use it until torch.export runs as lean in a server.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.jit.*")
        return torch.jit.script(network.scoring_graph())


def golden_rows(impressions: Impressions, num_rows: int) -> pa.Table:
    """The first test rows."""
    batches: list[pa.RecordBatch] = []
    for batch in impressions.rows("test", num_rows):
        batches.append(batch)
        if sum(part.num_rows for part in batches) >= num_rows:
            break
    return pa.Table.from_batches(batches).slice(0, num_rows).unify_dictionaries().combine_chunks()
