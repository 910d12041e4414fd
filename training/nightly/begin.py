"""The run of a night: the one to go on with, or a new one whose folder appears whole."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

from ranker.atomic import PARTIAL_SUFFIX, atomic_folder
from ranker.errors import RegistryError
from ranker.registry import Registry
from training.config import ExperimentConfig, dump_config
from training.errors import NightlyError
from training.nightly.night import current
from training.nightly.paths import Paths
from training.nightly.record import RunRecord, runs_of
from training.run import fingerprint


def begin(config: ExperimentConfig, day: date, paths: Paths, force: bool) -> tuple[Path, RunRecord]:
    """The run to go on with, or a new one. Unfinished runs of another experiment or other data are left as they are.

    Args:
        config: The experiment.
        day: Last day of the data.
        paths: Where the night reads and writes; nobody else does meanwhile.
        force: Begin anew even if the night of that day is done.

    Returns:
        The run's folder and its record, of a night that is done if it has an outcome.

    Raises:
        DataError: There are no data.
        NightlyError: The registry or an earlier run of that day is damaged, or the runs' folder cannot be written.
    """
    mark = fingerprint(config, paths.source(day, config.nightly))
    earlier = runs_of(paths.runs, day)
    try:
        _remove_leftovers(paths.runs)
        if earlier and not force:
            folder, record = earlier[-1]
            _remove_leftovers(folder)
            if record.outcome is not None and record.outcome.final:
                return folder, record
            if record.fingerprint == mark:
                record = record.again()
                record.save(folder)
                return folder, record
        return _new(config, day, paths, mark, earlier[-1][1].number + 1 if earlier else 1)
    except RegistryError as error:
        raise NightlyError(f"registry '{paths.registry}' cannot be used: {error}") from error
    except OSError as error:
        raise NightlyError(
            f"folder '{paths.runs}' cannot be written: {error.strerror}; free some space there, or give another --runs"
        ) from error


def _new(config: ExperimentConfig, day: date, paths: Paths, mark: str, number: int) -> tuple[Path, RunRecord]:
    """A run under the first number from `number` on whose folder and version nobody has used."""
    registry = Registry(paths.registry)
    champion, published = current(registry), {info.version for info in registry.versions()}
    while True:
        record = RunRecord.new(day, mark, number, champion)
        folder = paths.runs / (day.isoformat() if number == 1 else f"{day.isoformat()}-{number}")
        if record.version not in published and not folder.exists():
            break
        number += 1
    with atomic_folder(folder) as partial:
        (partial / "config.yaml").write_text(dump_config(config), encoding="utf-8")
        record.save(partial)
    return folder, record


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for leftover in folder.glob(f".*{PARTIAL_SUFFIX}"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
