"""One training run, from data to a verified bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from ranker.bundle import Bundle
from ranker.calibration import Calibration
from ranker.encoding import Encoder
from ranker.registry import new_version
from training.checkpoint import Checkpoints
from training.config import ExperimentConfig, dump_config
from training.data import Impressions, naming
from training.distributed import process_group
from training.errors import ConfigError
from training.evaluation import EvaluationReport
from training.export import export_bundle
from training.history import History
from training.progress import Progress
from training.source import Source
from training.trainer import Trainer
from training.warm_start import BUNDLE, TRAINED, TrainedState

CHECKPOINTS = "checkpoints"
_FINGERPRINT = "fingerprint"  # of an unfinished run's experiment and data


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


def train(
    config: ExperimentConfig,
    data: str | Path,
    out: Path,
    progress: Progress,
    *,
    earlier: TrainedState | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RunResult:
    """Check the data, fit the encoder, train, calibrate on valid, evaluate on test, export.

    A run that was killed goes on from its newest checkpoint when it is started again with the same arguments.

    Args:
        config: The experiment.
        data: Impressions: a Parquet file, a folder of them, or a URL.
        out: Run folder to create: `bundle/`, `config.yaml`, `metrics.json`, `tensorboard/`, and `trained/`, the state
            that a later run may go on from.
        progress: Told what happens.
        earlier: Go on from this model in place of random weights.
        stop: Whether the run has been asked to stop.

    Raises:
        ConfigError: `out` is already a run, or an unfinished one of another experiment or other data.
        DataError: The data do not fit the config.
        DivergenceError: Losses stopped being finite.
        Interrupted: The run was asked to stop; started again, it goes on.
    """
    with process_group():
        first = dist.get_rank() == 0
        _refuse_used(out)
        impressions = Impressions(data, config)
        mark = fingerprint(config, impressions.source)
        _refuse_other(out, mark)
        counts, encoder = check_data(impressions, None if earlier is None else earlier.encoder)
        progress.say(_describe(counts))
        progress.say(f"encoder: {sum(encoder.num_embeddings.values()):,} rows in {len(encoder.num_embeddings)} tables")
        if first:
            _create(out, config, mark)
        checkpoints = Checkpoints(out / CHECKPOINTS, config.training.checkpoints.keep)
        trainer = Trainer(config, impressions, encoder, progress, out / "tensorboard", checkpoints, stop)
        if earlier is not None:
            progress.say(trainer.warm_start(earlier).sentence())
        history = trainer.fit(counts["train"]["rows"])
        trainer.save_trained(out / TRAINED)
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
            checkpoints.clear()
            (out / _FINGERPRINT).unlink()
        dist.barrier()  # no process leaves before the bundle is there
        return RunResult(bundle, report, history)


def check_data(impressions: Impressions, earlier: Encoder | None = None) -> tuple[dict[str, dict[str, int]], Encoder]:
    """Find all that can be wrong with the data before anything is trained or written.

    Args:
        impressions: The data.
        earlier: An encoder whose ids are to be kept, if it is of the same schema.

    Returns:
        Per split, its rows and the labelled rows of each output; and the encoder: the earlier one with the new values
        of the training rows appended, or one fitted on them.

    Raises:
        DataError: Names the file, the column, the value and the fix.
    """
    return impressions.check(), fit_encoder(impressions, earlier)


def fit_encoder(impressions: Impressions, earlier: Encoder | None) -> Encoder:
    """The earlier encoder with the new values of the training rows appended, or one fitted on them.

    Raises:
        DataError: Names the file, the column, the value and the fix.
    """
    with naming(f"data '{impressions.path}'"):
        if earlier is not None and earlier.schema == impressions.schema:
            return earlier.extend(impressions.rows("train"))
        return Encoder.fit(impressions.schema, impressions.rows("train"))


def fingerprint(config: ExperimentConfig, source: Source) -> str:
    """Sixteen hex digits that change with any setting of the experiment and with any file of the data."""
    return hashlib.sha256("\n".join([dump_config(config), *source.listing()]).encode()).hexdigest()[:16]


def _refuse_used(out: Path) -> None:
    if (out / BUNDLE).exists():
        raise ConfigError(f"run folder '{out}' already holds a bundle; choose another --out, or remove it")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out must be a folder, '{out}' is a file; choose another --out")


def _refuse_other(out: Path, mark: str) -> None:
    """Refuse to go on from checkpoints of another run."""
    path = out / _FINGERPRINT
    if path.exists() and path.read_text(encoding="utf-8") != mark:
        raise ConfigError(
            f"run folder '{out}' holds an unfinished run of another experiment or other data; choose another --out, or "
            "remove it"
        )


def _create(out: Path, config: ExperimentConfig, mark: str) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / _FINGERPRINT).write_text(mark, encoding="utf-8")
        (out / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"run folder '{out}' cannot be written: {exc.strerror}; choose another --out") from exc


def _describe(counts: dict[str, dict[str, int]]) -> str:
    parts = [f"{split} {totals['rows']:,} rows" for split, totals in counts.items()]
    return f"data: {', '.join(parts)}"


def _describe_data(impressions: Impressions, counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    return {"path": impressions.name, "splits": counts}
