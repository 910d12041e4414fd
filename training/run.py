"""One training run, from data to a verified bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from ranker.bundle import Bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.registry import new_version
from training.config import ExperimentConfig, dump_config
from training.data import Impressions, naming
from training.distributed import process_group
from training.errors import ConfigError
from training.evaluation import EvaluationReport
from training.export import export_bundle
from training.history import History
from training.progress import Progress
from training.trainer import Trainer

BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run leaves.

    Attributes:
        bundle: The verified bundle, in `RUN/bundle`; None on all processes but the first.
        report: Metrics of the test rows, calibrated.
        history: The epochs.
    """

    bundle: Bundle | None
    report: EvaluationReport
    history: History


def train(config: ExperimentConfig, data: Path, out: Path, progress: Progress) -> RunResult:
    """Check the data, fit the encoder, train, calibrate on valid, evaluate on test, export.

    Args:
        config: The experiment.
        data: Impressions: a Parquet file or a folder of them.
        out: Run folder to create: `bundle/`, `config.yaml`, `metrics.json`, `tensorboard/`.
        progress: Told what happens.

    Raises:
        ConfigError: `out` is already a run.
        DataError: The data do not fit the config.
        DivergenceError: Losses stopped being finite.
    """
    with process_group():
        first = dist.get_rank() == 0
        _refuse_used(out)
        impressions = Impressions(data, config)
        counts, encoder = check_data(impressions)
        progress.say(_describe(counts))
        progress.say(f"encoder: {sum(encoder.num_embeddings.values()):,} rows in {len(encoder.num_embeddings)} tables")
        if first:
            _create(out, config)
        trainer = Trainer(config, impressions, encoder, progress, curves=out / "tensorboard")
        history = trainer.fit(counts["train"]["rows"])
        valid = trainer.predict("valid")
        calibration = Calibration.fit(config.data_schema, valid.raw, *valid.masks(), config.calibration)
        report = trainer.predict("test").report(calibration, config.policy)
        metrics = {
            "test": report.to_dict(),
            "valid": valid.report(calibration, config.policy).to_dict(),
            "history": history.to_dict(),
        }
        bundle = export_bundle(
            out / BUNDLE,
            config=config,
            network=trainer.network,
            encoder=encoder,
            calibration=calibration,
            impressions=impressions,
            metrics=metrics,
            data=_describe_data(impressions, counts),
            version=new_version(),
        )
        if first:
            (out / "metrics.json").write_text(json.dumps(metrics, indent=2), encoding="utf-8")
        dist.barrier()  # no process leaves before the bundle is there
        return RunResult(bundle, report, history)


def check_data(impressions: Impressions) -> tuple[dict[str, dict[str, int]], Encoder]:
    """Find all that can be wrong with the data before anything is trained or written.

    Returns:
        Per split, its rows and the labelled rows of each output; and the encoder, fitted on the training rows.

    Raises:
        DataError: Names the file, the column, the value and the fix.
    """
    counts = impressions.check()
    with naming(f"data '{impressions.path}'"):
        return counts, Encoder.fit(impressions.schema, impressions.rows("train"))


def _refuse_used(out: Path) -> None:
    if (out / BUNDLE).exists():
        raise ConfigError(f"run folder '{out}' already holds a bundle; choose another --out, or remove it")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out must be a folder, '{out}' is a file; choose another --out")


def _create(out: Path, config: ExperimentConfig) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"run folder '{out}' cannot be written: {exc.strerror}; choose another --out") from exc


def _describe(counts: dict[str, dict[str, int]]) -> str:
    parts = [f"{split} {totals['rows']:,} rows" for split, totals in counts.items()]
    return f"data: {', '.join(parts)}"


def _describe_data(impressions: Impressions, counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {"path": impressions.path.name, "splits": counts}
