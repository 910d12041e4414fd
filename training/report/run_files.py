"""What a run has left in its folder, as far as it came. A file that is absent or damaged costs its section only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from training.calibration_report import CalibrationReport
from training.data_check import DataCheckReport, DataProfile
from training.diagnostics.gates import GateReport
from training.evaluation import EvaluationReport
from training.gate import Decision
from training.history import History
from training.nightly.record import RECORD, RunRecord
from training.report.settings import Settings, flat_settings
from training.report.usage import read_gate_usage

Content = TypeVar("Content")

# By file, the stage that writes it.
WRITERS = {
    "profile.json": "check",
    "data_check.json": "check",
    "history.json": "train",
    "metrics.json": "evaluate",
    "calibration_report.json": "evaluate",
    "gates.json": "evaluate",
    "gate.json": "gate",
}


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the model is worth.

    Attributes:
        valid: On the rows that chose the best epoch and the calibration.
        test: On rows that nothing was fitted on.
    """

    valid: EvaluationReport
    test: EvaluationReport


@dataclass(frozen=True, slots=True)
class RunFiles:
    """The content of a run's folder; None for what is not there.

    Attributes:
        folder: The run's.
        record: How far it came.
        settings: The experiment's, by dotted key, every default spelled out.
        profile: What the data looked like.
        data_check: What was found in them.
        history: The epochs.
        calibration: Probabilities before and after.
        metrics: On valid and test.
        decision: The gate's.
        gates: Which experts the tasks use.
        problems: By file, why it cannot be read.
    """

    folder: Path
    record: RunRecord | None
    settings: Settings | None
    profile: DataProfile | None
    data_check: DataCheckReport | None
    history: History | None
    calibration: CalibrationReport | None
    metrics: Metrics | None
    decision: Decision | None
    gates: GateReport | None
    problems: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read all there is."""
        problems: dict[str, str] = {}

        def read(name: str, parse: Callable[[bytes], Content]) -> Content | None:
            return _read(folder / name, parse, problems)

        return cls(
            folder=folder,
            record=read(RECORD, RunRecord.model_validate_json),
            settings=read("config.yaml", _settings),
            profile=read("profile.json", DataProfile.model_validate_json),
            data_check=read("data_check.json", DataCheckReport.model_validate_json),
            history=read("history.json", lambda content: History.from_dict(json.loads(content))),
            calibration=read("calibration_report.json", CalibrationReport.model_validate_json),
            metrics=read("metrics.json", _metrics),
            decision=read("gate.json", Decision.model_validate_json),
            gates=read("gates.json", lambda content: read_gate_usage(json.loads(content))),
            problems=problems,
        )

    @property
    def date(self) -> str:
        """Of the data, or else the folder's name."""
        return self.folder.name if self.record is None else self.record.date.isoformat()

    def why_absent(self, name: str) -> str:
        """Why one of `WRITERS`' files gives nothing."""
        if name in self.problems:
            return self.problems[name]
        stage = WRITERS[name]
        done = self.record is not None and self.record.done(stage) is not None
        return f"stage {stage} left no {name}" if done else f"the run did not get through stage {stage}"


def _read(path: Path, parse: Callable[[bytes], Content], problems: dict[str, str]) -> Content | None:
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        problems[path.name] = f"{path.name} cannot be read: {reason[:300]}"
        return None


def _settings(content: bytes) -> Settings:
    try:
        return flat_settings(yaml.safe_load(content))
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {error}") from error


def _metrics(content: bytes) -> Metrics:
    found: Mapping[str, Mapping[str, Any]] = json.loads(content)
    return Metrics(*(EvaluationReport.from_dict(found[split]) for split in ("valid", "test")))
