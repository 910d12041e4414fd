"""A night of the tiny experiment, and the night before, as the folders that a run leaves; made once."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranker.calibration import Calibration
from ranker.encoding import Encoder
from training.calibration_report import calibration_report
from training.config import ExperimentConfig, dump_config
from training.data import Impressions
from training.data_check import check, profile
from training.distributed import process_group
from training.gate import Decision, Floor, GateConfig, JudgedRows, Scores, judge
from training.nightly import Outcome, RunRecord
from training.predictions import Predictions
from training.progress import Progress
from training.report import gate_usage
from training.trainer import Trainer

BEFORE, TODAY = dt.date(2026, 1, 2), dt.date(2026, 1, 3)
GATE = GateConfig(resamples=100, min_positives=5, min_users=5, floors={"auc": Floor(at_least=0.3)}, max_gain=None)
SUMMARIES: dict[str, dict[str, Any]] = {
    "check": {"rows": {"train": 490, "valid": 105, "test": 105}, "warnings": 1},
    "train": {"epochs": 3, "rows_per_second": 1234.5, "warm_start": "warm start from run 2026-01-02: 31 rows kept"},
    "calibrate": {"ctr": "platt"},
    "evaluate": {"ctr/auc": 0.75},
    "gate": {"passed": True, "reasons": []},
    "export": {},
    "publish": {"published": True},
    "materialize": {},
}


@pytest.fixture(scope="session")
def previous_folder(tmp_path_factory: pytest.TempPathFactory, config: ExperimentConfig, log_file: Path) -> Path:
    """The night before, as far as the data check; read-only."""
    folder = tmp_path_factory.mktemp("before") / BEFORE.isoformat()
    folder.mkdir()
    profile(Impressions(log_file, config), config.data_check, BEFORE).save(folder / "profile.json")
    slower = config.training.model_copy(update={"batch_size": 32})
    (folder / "config.yaml").write_text(dump_config(config.model_copy(update={"training": slower})))
    record(BEFORE, ("check",)).save(folder)
    return folder


@pytest.fixture(scope="session")
def run_folder_of_night(
    tmp_path_factory: pytest.TempPathFactory,
    config: ExperimentConfig,
    log_file: Path,
    encoder: Encoder,
    previous_folder: Path,
) -> Path:
    """A night that ended with a new model live; read-only."""
    folder = tmp_path_factory.mktemp("nights") / TODAY.isoformat()
    folder.mkdir()
    impressions = Impressions(log_file, config)
    today = profile(impressions, config.data_check, TODAY)
    today.save(folder / "profile.json")
    write(folder, "data_check.json", check(today, (), config.data_check, TODAY).to_dict())
    (folder / "config.yaml").write_text(dump_config(config))
    with process_group():
        trainer = Trainer(config, impressions, encoder, Progress(quiet=True))
        write(folder, "history.json", trainer.fit(490).to_dict())
        valid, test = trainer.predict("valid"), trainer.predict("test")
        write(folder, "gates.json", gate_usage(trainer.network, encoder, impressions))
    calibration = Calibration.fit(config.data_schema, valid.raw, *valid.masks(), config.calibration)
    reports = {name: rows.report(calibration, config.policy) for name, rows in (("valid", valid), ("test", test))}
    write(folder, "metrics.json", {name: report.to_dict() for name, report in reports.items()})
    report = calibration_report(config.data_schema, valid, test, calibration)
    write(folder, "calibration_report.json", report.to_dict())
    write(folder, "gate.json", decide(config, test, calibration).to_dict())
    record(TODAY, tuple(SUMMARIES), Outcome.PUBLISHED).save(folder)
    return folder


@pytest.fixture
def night(run_folder_of_night: Path, tmp_path: Path) -> Path:
    """A copy of the night that a test may change."""
    return Path(shutil.copytree(run_folder_of_night, tmp_path / TODAY.isoformat()))


@pytest.fixture
def change(night: Path) -> Callable[[str, Mapping[str, Any]], None]:
    """Sets top-level values of a JSON file of the night."""

    def changed(name: str, values: Mapping[str, Any]) -> None:
        write(night, name, {**json.loads((night / name).read_text()), **values})

    return changed


def record(
    day: dt.date,
    stages: tuple[str, ...],
    outcome: Outcome | None = None,
    message: str = "",
    champion: str | None = "20260102-1-cafe00",
) -> RunRecord:
    """A record with these stages done, the later the longer."""
    found = RunRecord.new(day, "feedbead", 1, champion)
    for place, name in enumerate(stages):
        found = found.with_stage(name, 1.5 + place, SUMMARIES[name])
    return found if outcome is None else found.ended(outcome, message)


def decide(config: ExperimentConfig, test: Predictions, calibration: Calibration) -> Decision:
    """The gate between the night's model and one that is wrong at random."""
    challenger = Scores.of(test, calibration, record(TODAY, ()).version)
    random = np.random.default_rng(0)
    outputs = {name: random.permutation(values) for name, values in challenger.outputs.items()}
    champion = replace(challenger, outputs=outputs, version="20260102-1-cafe00")
    rows = JudgedRows.of(test, calibration)
    return judge(config.data_schema, rows, challenger, champion, GATE, config.policy)


def write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    """As the nightly job writes its files."""
    (folder / name).write_text(json.dumps(content, allow_nan=False))
