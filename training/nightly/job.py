"""The night as a whole: one at a time, stage after stage, and an end that is written down whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date

from feature_store import StoreError, parse_store
from ranker.atomic import replace_file
from ranker.errors import DataError, RankerError
from training.config import ExperimentConfig
from training.distributed import process_group
from training.errors import BadData, ConfigError, Interrupted, NightlyError, TrainingError
from training.nightly.begin import begin
from training.nightly.first import first_process, on_first
from training.nightly.lock import locked
from training.nightly.log import NightLog
from training.nightly.night import Night, current, remove
from training.nightly.outcome import Outcome
from training.nightly.paths import Paths
from training.nightly.record import RunRecord
from training.nightly.stages import STAGES
from training.nightly.textfile import write_textfile
from training.report import render
from training.warm_start import BUNDLE

LOCK = ".nightly.lock"
REPORT = "report.html"


def nightly(
    config: ExperimentConfig,
    day: date,
    paths: Paths,
    log: NightLog,
    *,
    stop: Callable[[], bool] = lambda: False,
    force: bool = False,
) -> RunRecord:
    """Run the night of a day to its end, or what is left of it.

    Args:
        config: The experiment.
        day: Last day of the data.
        paths: Where it reads and writes.
        log: Told what happens.
        stop: Whether the job has been asked to stop; looked at between steps and stages.
        force: Begin anew even if the night of that day is done.

    Returns:
        The record, with the outcome.

    Raises:
        AlreadyRunning: Another job uses the registry.
        NightlyError: The registry or the runs' folder cannot be read or written.
        ConfigError: The experiment names features to fill and no store is given, or the other way round.
        DataError: There are no data at all.
    """
    _check_store(config, paths)
    with process_group(), ExitStack() as locks:
        on_first(lambda: locks.enter_context(locked(paths.registry / LOCK, f"registry '{paths.registry}'")))
        on_first(lambda: locks.enter_context(locked(paths.runs / LOCK, f"folder '{paths.runs}'")))
        folder, record = on_first(lambda: begin(config, day, paths, force))
        night = Night(config, day, paths, folder, record, log, stop)
        if record.outcome is not None:
            log.say(f"the night of {day} is done: {record.outcome}; --force begins anew")
            if first_process() and not (folder / REPORT).exists():  # killed between the outcome and this
                _show(night)
            return record
        if first_process():
            log.open(folder, date=day.isoformat(), version=record.version)
        log.event("started", f"night of {day}, attempt {record.attempts}, in {folder}", attempt=record.attempts)
        _run(night)
        return night.record


def _run(night: Night) -> None:
    """Run the stages that are left, and write down how it ended."""
    try:
        _stages(night)
    except Interrupted as error:
        _end(night, Outcome.INTERRUPTED, f"{error}; run again, it goes on from there")
    except (BadData, DataError, ConfigError) as error:
        _end(night, Outcome.BAD_DATA, str(error))
    except (TrainingError, RankerError, StoreError) as error:
        _end(night, Outcome.FAILED, str(error))
    except BaseException as error:
        _end(night, Outcome.FAILED, f"unexpected {type(error).__name__}: {error}")
        raise
    else:
        published = night.record.done("publish")
        assert published is not None
        gate = night.record.done("gate")
        assert gate is not None
        if published.summary["published"]:
            version, live = night.record.version, published.summary["live"]
            _end(
                night,
                Outcome.PUBLISHED,
                f"{version} is live" if live == version else f"{version}; {live} is live since",
            )
        else:
            _end(night, Outcome.CHAMPION_KEPT, " ".join(gate.summary["reasons"]))


def _stages(night: Night) -> None:
    while (name := next((name for name in STAGES if not night.record.done(name)), None)) is not None:
        if on_first(night.stop):
            raise Interrupted(f"stopped before stage '{name}'")
        if name == "publish" and on_first(lambda: _champion_changed(night)):
            night.log.warn("champion_changed", "another model went live meanwhile; the gate judges again")
            _note(night, night.record.without("gate", "export"))
            remove(night.folder / BUNDLE)
            continue
        started = time.monotonic()
        night.log.event("stage_started", f"stage {name}", stage=name)
        try:
            summary = STAGES[name](night)
            _note(night, night.record.with_stage(name, time.monotonic() - started, summary))
        except OSError as error:
            raise NightlyError(_explain(night, name, error)) from error


def _note(night: Night, record: RunRecord) -> None:
    night.record = record
    if first_process():
        record.save(night.folder)


def _explain(night: Night, stage: str, error: OSError) -> str:
    """Where a stage could not read or write, and what to do; a full disk often does not say where it was met."""
    where = error.filename or (night.paths.registry if stage == "publish" else night.folder)
    return (
        f"stage '{stage}' failed at '{where}': {error.strerror or error}; mend that and run again, the night goes on "
        "with this stage"
    )


def _champion_changed(night: Night) -> bool:
    """Whether what is live is not what the gate compared with; a night that was killed may have published already."""
    gate = night.record.done("gate")
    assert gate is not None
    published = {info.version for info in night.registry.versions()}
    return current(night.registry) != gate.summary["champion"] and night.record.version not in published


def _end(night: Night, outcome: Outcome, message: str) -> None:
    """Write down the outcome, and show it: record, report, textfile, log."""
    night.record = night.record.ended(outcome, message)
    if not first_process():
        return
    tell = night.log.event if outcome.final else night.log.error
    tell("ended", f"{outcome.replace('_', ' ')}: {message}", outcome=outcome, exit_code=outcome.exit_code)
    with _told(night):
        (night.folder / REPORT).unlink(missing_ok=True)  # that of an earlier attempt
        night.record.save(night.folder)
    _show(night)


def _show(night: Night) -> None:
    """Metrics, then the report: where there is one, nothing is left to do."""
    with _told(night):
        if night.paths.metrics is not None:
            write_textfile(night.paths.metrics, night.record, night.folder)
    with _told(night):
        replace_file(night.folder / REPORT, render(night.folder, night.night_before).encode())


@contextmanager
def _told(night: Night) -> Iterator[None]:
    """Say what cannot be written at the end; it changes nothing about the outcome."""
    try:
        yield
    except OSError as error:
        where = error.filename or night.folder
        night.log.error("not_written", f"'{where}' cannot be written: {error.strerror}; mend that and run again")


def _check_store(config: ExperimentConfig, paths: Paths) -> None:
    """Refuse features without a store before the night begins, not at its end."""
    try:
        if paths.store is not None:
            parse_store(paths.store)
    except StoreError as error:
        raise ConfigError(f"--store: {error}") from error
    if config.nightly.features and paths.store is None:
        raise ConfigError("`nightly.features` wants a feature store; give --store, or remove the section")
