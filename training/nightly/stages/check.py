"""Is the data fit to train on? And the encoder: the live one, extended, or a new one."""

from __future__ import annotations

from typing import Any

from ranker.atomic import atomic_folder
from ranker.errors import DataError
from training.data_check import DataCheckReport, DataProfile, check as check_profile, profile
from training.errors import BadData
from training.nightly.first import on_first
from training.nightly.night import Night, remove
from training.nightly.record import past_runs
from training.run import fit_encoder
from training.warm_start import ENCODER

PROFILE, FINDINGS, COUNTS = "profile.json", "data_check.json", "counts.json"


def check(night: Night) -> dict[str, Any]:
    """Read everything once, compare it with earlier nights, and fit or extend the encoder.

    Raises:
        BadData: The check found errors; they are in `data_check.json`.
        DataError: A value cannot be read at all; names the file, the column and the fix.
    """
    return on_first(lambda: _check(night))


def _check(night: Night) -> dict[str, Any]:
    counts = night.impressions.check()
    night.write(COUNTS, counts)
    config = night.config.data_check
    today = profile(night.impressions, config, night.day, night.config.training.seed)
    today.save(night.folder / PROFILE)
    references = _references(night)
    known = None if night.earlier is None else night.earlier.encoder
    report = check_profile(today, references, config, night.day, known, _champion_auc(night))
    night.write(FINDINGS, report.to_dict())
    _tell(night, report)
    if report.errors:
        raise BadData(
            f"the data of {night.day} are not fit to train on: "
            + "; ".join(f"{finding.subject}: {finding.message}" for finding in report.errors)
            + ". Mend the data and run again, or adjust `data_check` in the experiment"
        )
    encoder = fit_encoder(night.impressions, known)
    remove(night.folder / ENCODER)
    with atomic_folder(night.folder / ENCODER) as folder:
        encoder.save(folder)
    return {
        "rows": {split: totals["rows"] for split, totals in counts.items()},
        "warnings": len(report.warnings),
        "compared_with": [reference.date.isoformat() for reference in references],
        "table_rows": sum(encoder.num_embeddings.values()),
    }


def _references(night: Night) -> list[DataProfile]:
    """Profiles of earlier nights whose data passed, oldest first."""
    found: list[DataProfile] = []
    for folder, record in past_runs(night.paths.runs):
        if record.date < night.day and record.done("check"):
            try:
                found.append(DataProfile.load(folder / PROFILE))
            except DataError as error:
                night.log.warn("profile_unreadable", f"not compared with: {error}")
    return found[-night.config.data_check.history :]


def _champion_auc(night: Night) -> dict[str, float]:
    """AUC of the live model by task, as its own night measured it."""
    outputs = {} if night.champion is None else night.champion.metrics.get("test", {}).get("outputs", {})
    return {task: found["auc"] for task, found in outputs.items() if found.get("auc") is not None}


def _tell(night: Night, report: DataCheckReport) -> None:
    for finding in report.findings:
        tell = night.log.error if finding.severity == "error" else night.log.warn
        tell("data_finding", finding.message, check=finding.check, subject=finding.subject)
