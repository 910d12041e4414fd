"""A bundle: one folder with all that serving needs. `ranker.bundle_writer` writes it, and reads it back by this file.

model.pt          TorchScript: encoded tensors to raw task outputs
tables/           its embedding tables, but for small ones: mapped, and so shared by processes
network.so        the network over items, compiled for one kind of machine; not in every bundle
encoder/          raw values to tensors
schema.json       features, tasks, derived outputs
calibration.json  raw task outputs to probabilities
fusion.json       the policy that ranks until someone sets another
metrics.json      what evaluation found
golden.parquet    raw rows with the scores that training computed
architecture.safetensors  the trained architecture's weights, to train on from; not read in serving
report.html       how it came about, for people; not in every bundle
manifest.json     sha256 of every other file, and of itself; versions; data range
"""

# Shapes: R = requests, L = candidates

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from ranker.calibration import Calibration
from ranker.columns import Columns
from ranker.encoding import Encoder, SideTensors
from ranker.errors import BundleError, DataError, RankerError
from ranker.exporters import EXPORTERS, CompiledEngine, ItemNetwork, Machine
from ranker.fusion import FusionPolicy
from ranker.golden import Disagreement, compare, golden_scores
from ranker.graph_tables import TABLES, map_tables
from ranker.manifest import (
    FIX,
    MANIFEST,
    Manifest,
    load_json,
    parse_json,
    verify_files,
)
from ranker.schema import Schema
from ranker.torchscript import call, load_graph

Floats = NDArray[np.float64]
__all__ = ["Bundle", "Manifest"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as read from disk: verified, and ready to score.

    Attributes:
        network: Compiled network over items, which scores single requests in place of that in `model`; see `compiled`.
    """

    path: Path
    manifest: Manifest
    schema: Schema
    encoder: Encoder
    calibration: Calibration
    fusion: FusionPolicy
    model: torch.jit.ScriptModule
    metrics: dict[str, Any]
    network: ItemNetwork | None = None

    @classmethod
    def load(cls, path: Path | str) -> Bundle:
        """Read a bundle, after verifying that every file is there, unchanged, and that they agree with each other.

        Raises:
            BundleError: Names the file and the fix.
        """
        folder = Path(path)
        manifest = Manifest.load(folder)
        verify_files(folder, manifest)
        schema = load_json(folder / "schema.json", Schema)
        calibration = load_json(folder / "calibration.json", Calibration)
        fusion = load_json(folder / "fusion.json", FusionPolicy)
        with _as_bundle_error(folder / "encoder"):
            encoder = Encoder.load(folder / "encoder", schema)
        with _as_bundle_error(folder / "calibration.json"):
            calibration.validate_schema(schema)
        with _as_bundle_error(folder / "fusion.json"):
            fusion.validate_outputs(schema.output_names)
        _agree(folder / "schema.json", schema.fingerprint, manifest.schema_fingerprint)
        _agree(folder / "encoder", encoder.fingerprint, manifest.encoder_fingerprint)
        metrics_path = folder / "metrics.json"
        metrics = parse_json(metrics_path, metrics_path.read_bytes())
        graph = load_graph(folder / "model.pt")
        map_tables(graph, folder / TABLES)
        return cls(folder, manifest, schema, encoder, calibration, fusion, graph, metrics)

    def raw_outputs(
        self, request: SideTensors, item: SideTensors, request_index_L: Tensor | None = None
    ) -> dict[str, Floats]:
        """What the model itself reports: logits of binary tasks, predictions of regression tasks.

        Args:
            request: User and context features of R requests.
            item: Item features of L candidates.
            request_index_L: Request of each candidate, int64. May be left out if there is one request, or one each.

        Returns:
            Raw outputs [L] by task.

        Raises:
            DataError: `request_index_L` is left out and cannot be guessed.
        """
        index_L = _request_index(request, item) if request_index_L is None else request_index_L
        with torch.inference_mode():
            if self.network is not None and request.numeric_BN.size(0) == 1:
                return self._compiled_outputs(self.network, request, item, index_L)
            outputs = call(self.model, *request, *item, index_L)
            return {task: output_L.numpy().astype(np.float64) for task, output_L in outputs.items()}

    def _compiled_outputs(
        self, network: ItemNetwork, request: SideTensors, item: SideTensors, index_L: Tensor
    ) -> dict[str, Floats]:
        item_KV, request_1P = call(self.model.represent, *request, *item, index_L)
        if item_KV.size(0) == 0:
            return {task: np.empty(0) for task in self.schema.task_names}
        outputs_TL = network(item_KV, request_1P)[:, : index_L.size(0)].numpy().astype(np.float64)
        return dict(zip(self.schema.task_names, outputs_TL, strict=True))

    def misfit(self, engine: CompiledEngine) -> str | None:
        """Why this machine cannot use the bundle's network as that engine compiled it; None if it can."""
        if engine not in self.manifest.compiled:
            return f"the bundle was exported without it; add {engine} to export.engines"
        return self.manifest.compiled[engine].misfit(Machine.here())

    def compiled(self, engine: CompiledEngine) -> Bundle:
        """This bundle, scoring single requests by the network as that engine compiled it.

        Raises:
            BundleError: The bundle does not have it, or not for this machine; see `misfit`.
        """
        if problem := self.misfit(engine):
            raise BundleError(f"'{self.path}' cannot be served by {engine}: {problem}")
        path = self.path / EXPORTERS[engine].file
        try:
            return replace(self, network=EXPORTERS[engine].load(path))
        except RuntimeError as error:
            raise BundleError(f"'{path}' cannot be loaded: {error}; {FIX}") from error

    def score(
        self, request: SideTensors, item: SideTensors, request_index_L: Tensor | None = None
    ) -> dict[str, Floats]:
        """Calibrated outputs [L] by name, derived ones included; arguments and errors as `raw_outputs`."""
        return self.calibration.apply(self.raw_outputs(request, item, request_index_L))

    def score_rows(self, data: Columns) -> dict[str, Floats]:
        """Calibrated outputs [L] by name of raw rows, each row a request of its own with one candidate.

        Raises:
            DataError: The rows do not fit the schema.
        """
        request, item = self.encoder.encode(data)
        return self.score(request, item)

    def golden(self) -> pa.Table:
        """Raw feature columns of some real rows, and per output `score.<output>` as training computed it."""
        return pq.read_table(self.path / "golden.parquet")

    def verify_golden(self) -> float:
        """Score the golden rows, raw values to calibrated outputs, and compare with what training computed.

        Returns:
            The largest difference, `|score - golden| / max(1, |golden|)`.

        Raises:
            BundleError: One is larger than the manifest's `golden_tolerance`, or the rows cannot be scored.
        """
        path, golden = self.path / "golden.parquet", self.golden()
        try:
            request, item = self.encoder.encode(golden)
            raw = self.raw_outputs(request, item)
        except (torch.jit.Error, RuntimeError, RankerError) as error:
            raise BundleError(f"rows of '{path}' cannot be scored: {error}; export the model again") from error
        largest, wrong = self.compare(raw, golden)
        if wrong is not None:
            raise BundleError(
                f"'{wrong.output}' of row {wrong.row} in '{path}' must be {wrong.expected:.8g} "
                f"within {self.manifest.golden_tolerance:g}, the model gives {wrong.found:.8g}; "
                f"training and serving disagree: do not serve this bundle, {FIX}"
            )
        return largest

    def compare(self, raw: Mapping[str, NDArray[Any]], golden: pa.Table) -> tuple[float, Disagreement | None]:
        """Hold raw outputs of golden rows against what training computed.

        Args:
            raw: Raw outputs [L] by task.
            golden: The same rows of `golden()`.

        Returns:
            The largest difference of a score, `|score - golden| / max(1, |golden|)`, and the first that the manifest's
            `golden_tolerance` does not allow.
        """
        path = self.path / "golden.parquet"
        expected = {output: golden_scores(path, golden, output) for output in self.schema.output_names}
        return compare(self.calibration, raw, expected, self.manifest.golden_tolerance)


def _agree(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise BundleError(f"fingerprint of '{path}' must be {expected} by {MANIFEST}, got {found}; {FIX}")


@contextmanager
def _as_bundle_error(path: Path) -> Iterator[None]:
    try:
        yield
    except RankerError as error:
        raise BundleError(f"'{path}': {error}; {FIX}") from error


def _request_index(request: SideTensors, item: SideTensors) -> Tensor:
    num_requests, num_candidates = request.numeric_BN.shape[0], item.numeric_BN.shape[0]
    if num_requests == 1:
        return torch.from_numpy(np.zeros(num_candidates, np.int64))
    if num_requests == num_candidates:
        return torch.arange(num_candidates)
    raise DataError(
        f"`request_index_L` must be given for {num_requests} requests with {num_candidates} candidates: "
        "it cannot be told which candidate belongs to which request"
    )
