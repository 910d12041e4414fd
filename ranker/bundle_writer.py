"""Writing a bundle: all parts under a hidden name, read back and verified, then there at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from ranker.atomic import atomic_folder
from ranker.bundle import Bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.errors import BundleError
from ranker.exporters import EXPORTERS, CompiledEngine, Machine
from ranker.fusion import FusionPolicy
from ranker.golden import golden_table
from ranker.graph_tables import TABLES, tables_apart
from ranker.manifest import Manifest, Precision, PrecisionCheck, file_digest, file_names, reasons
from ranker.schema import Schema
from ranker.torchscript import save_graph

GOLDEN_TOLERANCE = 1e-5

ARCHITECTURE = "architecture.safetensors"

_DISTRIBUTION = "ranking-service"


def write_bundle(
    path: Path | str,
    *,
    graph: torch.jit.ScriptModule,
    schema: Schema,
    encoder: Encoder,
    calibration: Calibration,
    fusion: FusionPolicy,
    metrics: Mapping[str, Any],
    golden_rows: pa.Table,
    golden_outputs: Mapping[str, NDArray[Any]],
    data: Mapping[str, Any],
    version: str,
    golden_tolerance: float = GOLDEN_TOLERANCE,
    precision: Precision = "fp32",
    precision_check: PrecisionCheck | None = None,
    compiled: Mapping[CompiledEngine, Path] | None = None,
    architecture: bytes | None = None,
    report: str | None = None,
) -> Bundle:
    """Write a bundle, read it back, and let it appear only if it reproduces the golden scores.

    Args:
        path: Folder to create. Until all is verified it goes by a hidden temporary name beside it.
        graph: Scripted model in eval mode, as `Bundle.raw_outputs` calls it.
        schema: Features, tasks, derived outputs.
        encoder: Fitted encoder of that schema.
        calibration: Maps of the tasks.
        fusion: Default policy.
        metrics: What evaluation found; anything JSON can say.
        golden_rows: Up to some hundred raw rows, at least one; only feature columns are kept.
        golden_outputs: What the trained model itself gives for these rows, calibrated, [rows] by output.
        data: Where the training rows came from; anything JSON can say.
        version: Name of the version, e.g. `ranker.registry.new_version()`.
        golden_tolerance: Largest allowed difference from `golden_outputs`, or of a raw output from the one behind it;
            relative where they exceed 1.
        precision: Of the large products in `graph`.
        precision_check: What bf16 costs.
        compiled: Files of the network as other engines compiled it on this machine; they are copied.
        architecture: The architecture's weights as they were trained, in the safetensors format: `graph` has them
            rewritten, and training cannot go on from that.
        report: A page of HTML that stays with the bundle.

    Returns:
        The bundle, as read back from `path`.

    Raises:
        BundleError: The parts disagree, or `path` exists; nothing is left behind.
    """
    target = Path(path)
    if graph.training:
        raise BundleError(
            "`graph` must be in eval mode, or dropout changes its scores; call `.eval()` before scripting"
        )
    golden = golden_table(schema, golden_rows, golden_outputs)
    try:
        with atomic_folder(target) as folder:
            encoder.save(folder / "encoder")
            pq.write_table(golden, folder / "golden.parquet")
            for name, part in (("schema", schema), ("calibration", calibration), ("fusion", fusion)):
                (folder / f"{name}.json").write_text(part.model_dump_json(indent=2), encoding="utf-8")
            (folder / "metrics.json").write_text(
                json.dumps(_plain_json("metrics", metrics), indent=2), encoding="utf-8"
            )
            with tables_apart(graph, folder / TABLES):
                save_graph(graph, folder / "model.pt")
            for engine, file in (compiled or {}).items():
                shutil.copyfile(file, folder / EXPORTERS[engine].file)
            if architecture is not None:
                (folder / ARCHITECTURE).write_bytes(architecture)
            if report is not None:
                (folder / "report.html").write_text(report, encoding="utf-8")
            Manifest(
                version=version,
                created_at=datetime.now(UTC),
                schema_fingerprint=schema.fingerprint,
                encoder_fingerprint=encoder.fingerprint,
                files={name: file_digest(folder / name) for name in file_names(folder)},
                data=_plain_json("data", data),
                code_version=_code_version(),
                torch_version=str(torch.__version__),
                golden_tolerance=golden_tolerance,
                precision=precision,
                precision_check=precision_check,
                compiled=dict.fromkeys(compiled or {}, Machine.here()),
            ).save(folder)
            bundle = Bundle.load(folder)
            bundle.verify_golden()
    except FileExistsError as error:
        raise BundleError(f"`path` must not exist, got '{target}'; choose another, or remove it first") from error
    except ValidationError as error:
        raise BundleError(f"manifest of '{target}': {reasons(error)}") from error
    return replace(bundle, path=target)


def _plain_json(argument: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` as it will be read back."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BundleError(f"`{argument}` must be plain JSON: {error}; write null for what is not a number") from error
    return plain


def _code_version() -> str:
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout that was never installed
