"""From a trained network to a verified bundle: what it scores by, in which precision, and for which engines."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.torch
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from ranker.bundle import Bundle
from ranker.bundle_writer import write_bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoded, Encoder
from ranker.errors import BundleError
from ranker.exporters import EXPORTERS, CompiledEngine
from ranker.manifest import Precision, PrecisionCheck
from ranker.scoring import ScoringGraph
from ranker.serving_graph import ServingGraph, StackedTables, for_compilers
from ranker.torchscript import script
from training.config import ExperimentConfig, ExportConfig
from training.data import Impressions
from training.labels import task_labels
from training.log_columns import label_columns
from training.network import Network
from training.precision import resolve
from training.precision_check import check_precision, largest_error, misses
from training.predictions import outputs_of

logger = logging.getLogger(__name__)

# Shapes: N = test rows

RawOutputs = Mapping[str, NDArray[np.float32]]

_OTHER_PROCESSORS = 2  # times the error seen here is the most that another processor's rounding may bring


@dataclass(frozen=True, slots=True)
class Form:
    """The form in which a network serves.

    Attributes:
        graph: What will be scripted.
        precision: Of its large products.
        check: What bf16 costs; None: it was not tried.
        tolerance: Largest difference from training's raw outputs that a server may find.
    """

    graph: ServingGraph
    precision: Precision
    check: PrecisionCheck | None
    tolerance: float


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
    """Bring the network into the form that serves, hold it against the trained one on real rows, write the bundle.

    Every process has to call this, for its share of the tables; only the first one writes.

    Args:
        path: Folder to create.
        config: The experiment.
        network: Trained.
        encoder: The one it was trained with.
        calibration: Fitted maps from raw outputs to probabilities.
        impressions: Test rows are scored both ways; the first of them become the golden ones.
        metrics: What evaluation found.
        data: Where the training rows came from.
        version: Name of the version.
        report: A page of HTML that stays with the bundle.

    Returns:
        The bundle as read back; None on all processes but the first.

    Raises:
        BundleError: Outputs differ from training's by more than `export.tolerance`, or `export.precision` is bf16 and
            costs more than the limits allow; nothing is written.
    """
    export = config.export
    rows = first_test_rows(impressions, max(export.golden_rows, export.check_rows))
    trained = dict(outputs_of(network, encoder, rows))
    graph = network.scoring_graph()
    if dist.get_rank() != 0:
        return None
    form = choose_form(graph, config, encoder.encode(rows), trained, rows)
    golden = {task: values[: export.golden_rows] for task, values in trained.items()}
    with ExitStack() as stack:
        return write_bundle(
            path,
            graph=script(form.graph),
            schema=config.data_schema,
            encoder=encoder,
            calibration=calibration,
            fusion=config.policy,
            metrics=metrics,
            golden_rows=rows.slice(0, export.golden_rows),
            golden_outputs=calibration.apply(golden),
            data=data,
            version=version,
            golden_tolerance=form.tolerance,
            precision=form.precision,
            precision_check=form.check,
            compiled=compile_network(form.graph, export, Path(stack.enter_context(tempfile.TemporaryDirectory()))),
            architecture=safetensors.torch.save(dict(graph.architecture.state_dict())),
            report=report,
        )


def choose_form(
    graph: ScoringGraph,
    config: ExperimentConfig,
    encoded: Encoded,
    trained: RawOutputs,
    rows: pa.Table,
) -> Form:
    """The graph in bfloat16 if that is asked for or pays and costs little enough, else in float32.

    Args:
        graph: The trained network.
        config: The experiment.
        encoded: The rows, encoded.
        trained: Raw outputs of the rows by the network as it was trained.
        rows: The rows.

    Raises:
        BundleError: See `export_bundle`.
    """
    export, tables = config.export, StackedTables(graph.tables)
    exact = ServingGraph(graph, "fp32", tables)
    _refuse_difference(trained, _outputs(exact, encoded), export.tolerance)
    if resolve(export.precision, torch.device("cpu")) != "bf16":
        return Form(exact, "fp32", None, export.tolerance)
    lowered = ServingGraph(graph, "bf16", tables)
    labels = task_labels(config.data_schema, label_columns(config.data_schema, rows))
    check = check_precision(config.data_schema, trained, _outputs(lowered, encoded), labels)
    if not (missed := misses(check, export)):
        return Form(lowered, "bf16", check, max(export.tolerance, _OTHER_PROCESSORS * check.raw_error))
    if export.precision == "bf16":
        raise BundleError(
            f"bf16 costs too much on {check.rows} test rows: {missed}; set export.precision: auto or fp32"
        )
    return Form(exact, "fp32", check, export.tolerance)


def compile_network(graph: ServingGraph, export: ExportConfig, folder: Path) -> dict[CompiledEngine, Path]:
    """The network for every engine that is asked for and can be had on this machine: files in `folder`."""
    compiled: dict[CompiledEngine, Path] = {}
    for engine in export.engines:
        exporter = EXPORTERS[engine]
        if problem := exporter.unavailable():
            logger.warning("the bundle will be without %s: %s", engine, problem)
        else:
            compiled[engine] = folder / exporter.file
            item_KV, request_1P = graph.example()
            exporter.export(for_compilers(graph.network), item_KV, request_1P, compiled[engine])
    return compiled


def first_test_rows(impressions: Impressions, num_rows: int) -> pa.Table:
    """The first test rows."""
    batches: list[pa.RecordBatch] = []
    for batch in impressions.rows("test", num_rows):
        batches.append(batch)
        if sum(part.num_rows for part in batches) >= num_rows:
            break
    return pa.Table.from_batches(batches).slice(0, num_rows).unify_dictionaries().combine_chunks()


def _outputs(graph: ServingGraph, encoded: Encoded) -> RawOutputs:
    """Raw outputs of rows of which each is a request of its own."""
    index_N = torch.arange(len(encoded.item.numeric_BN))
    with torch.inference_mode():
        return {task: output_N.numpy() for task, output_N in graph(*encoded.request, *encoded.item, index_N).items()}


def _refuse_difference(trained: RawOutputs, served: RawOutputs, tolerance: float) -> None:
    for task, expected_N in trained.items():
        difference = largest_error(expected_N, served[task])
        if not difference <= tolerance:
            raise BundleError(
                f"served and trained outputs of task '{task}' differ by {difference:.3g} on {len(expected_N)} test "
                f"rows, more than export.tolerance {tolerance:g}; nothing was written"
            )
