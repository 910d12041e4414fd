"""What a night has done so far: one small file that is replaced whole after every stage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError

from ranker.atomic import replace_file
from ranker.manifest import reasons
from ranker.schema import FrozenConfig
from training.errors import NightlyError
from training.nightly.outcome import Outcome

RECORD = "run.json"


class StageRecord(FrozenConfig):
    """One stage that is done.

    Attributes:
        name: Of the stage.
        seconds: It took, in the attempt that ended it.
        finished_at: When.
        summary: What it found, for people; JSON values.
    """

    name: str
    seconds: float = Field(ge=0)
    finished_at: AwareDatetime
    summary: dict[str, Any]


class RunRecord(FrozenConfig):
    """One night.

    Attributes:
        date: Last day of the data.
        number: Of the runs for that day, from 1.
        version: Name of the bundle that it makes.
        fingerprint: Of the experiment and of the data's files; another one means that the night begins anew.
        started_at: When the first attempt began.
        attempts: How often the job was started for this.
        champion: What was live when the night began; None: nothing.
        stages: Those that are done, in order.
        outcome: How the last attempt ended; None while it runs, or if it was killed.
        ended_at: When it did.
        message: Why.
    """

    format: Literal[1] = 1
    date: dt.date
    number: int = Field(1, ge=1)
    version: str
    fingerprint: str
    started_at: AwareDatetime
    attempts: int = Field(1, ge=1)
    champion: str | None = None
    stages: tuple[StageRecord, ...] = ()
    outcome: Outcome | None = None
    ended_at: AwareDatetime | None = None
    message: str = ""

    @classmethod
    def new(cls, day: dt.date, fingerprint: str, number: int, champion: str | None) -> Self:
        """The record of a night that begins.

        Args:
            day: Last day of the data.
            fingerprint: Of the experiment and the data.
            number: Of the runs for that day, from 1.
            champion: What is live.
        """
        version = f"{day:%Y%m%d}-{number}-{fingerprint[:6]}"
        return cls(
            date=day,
            number=number,
            version=version,
            fingerprint=fingerprint,
            started_at=dt.datetime.now(dt.UTC),
            champion=champion,
        )

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What the run in `folder` has recorded; None if it has nothing.

        Raises:
            NightlyError: The record is damaged; names the file.
        """
        path = folder / RECORD
        try:
            return cls.model_validate_json(path.read_bytes(), strict=True)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            reason = reasons(error) if isinstance(error, ValidationError) else str(error)
            raise NightlyError(f"'{path}' cannot be read: {reason}; move '{folder}' away and run again") from error

    def save(self, folder: Path) -> None:
        """Replace the record in `folder`."""
        replace_file(folder / RECORD, self.model_dump_json(indent=2).encode())

    def done(self, stage: str) -> StageRecord | None:
        """The record of a stage; None if it is not done."""
        return next((record for record in self.stages if record.name == stage), None)

    def with_stage(self, name: str, seconds: float, summary: Mapping[str, Any]) -> Self:
        """With one more stage done."""
        stage = StageRecord(name=name, seconds=seconds, finished_at=dt.datetime.now(dt.UTC), summary=dict(summary))
        return self.model_copy(update={"stages": (*self.stages, stage)})

    def without(self, *names: str) -> Self:
        """With these stages to be done again."""
        return self.model_copy(update={"stages": tuple(stage for stage in self.stages if stage.name not in names)})

    def again(self) -> Self:
        """With one more attempt, which goes on with the stages that are left."""
        return self.model_copy(update={"attempts": self.attempts + 1, "outcome": None, "ended_at": None, "message": ""})

    def ended(self, outcome: Outcome, message: str) -> Self:
        """With how it ended."""
        return self.model_copy(update={"outcome": outcome, "ended_at": dt.datetime.now(dt.UTC), "message": message})


def past_runs(runs: Path) -> list[tuple[Path, RunRecord]]:
    """Every run that has a readable record, oldest first by date and number: clocks may have been set meanwhile."""
    found = []
    for path in runs.glob(f"*/{RECORD}"):
        if path.parent.name.startswith("."):  # not ready, or what a killed job left
            continue
        try:
            record = RunRecord.load(path.parent)
        except NightlyError:
            continue
        if record is not None:
            found.append((path.parent, record))
    return sorted(found, key=lambda run: (run[1].date, run[1].number))


def runs_of(runs: Path, day: dt.date) -> list[tuple[Path, RunRecord]]:
    """The runs of one day, oldest first.

    Raises:
        NightlyError: A record is damaged: nobody can tell what that run has done.
    """
    folders = [runs / day.isoformat(), *runs.glob(f"{day.isoformat()}-*")]
    found = [(folder, record) for folder in folders if (record := RunRecord.load(folder)) is not None]
    return sorted(found, key=lambda run: run[1].number)
