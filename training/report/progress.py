"""How far a run came: its stages, which are done, and at which it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.nightly.outcome import Outcome
from training.nightly.record import RunRecord

STAGES = ("check", "train", "calibrate", "evaluate", "gate", "export", "publish", "materialize")

State = Literal["done", "stopped", "open"]


@dataclass(frozen=True, slots=True)
class Step:
    """A stage of the night.

    Attributes:
        name: Of the stage.
        state: `stopped`: the run ended in it; `open`: it has not begun, or is under way.
        seconds: It took; None until it is done.
    """

    name: str
    state: State
    seconds: float | None = None


def steps(record: RunRecord | None) -> tuple[Step, ...]:
    """Every stage, in order."""
    if record is None:
        return tuple(Step(name, "open") for name in STAGES)
    stopped = stopped_in(record)
    found = []
    for name in STAGES:
        done = record.done(name)
        if done is not None:
            found.append(Step(name, "done", done.seconds))
        else:
            found.append(Step(name, "stopped" if name == stopped else "open"))
    return tuple(found)


def next_stage(record: RunRecord) -> str | None:
    """The first stage that is not done; None after the last."""
    return next((name for name in STAGES if record.done(name) is None), None)


def stopped_in(record: RunRecord) -> str | None:
    """The stage in which the run ended before its end; None if it did not."""
    if record.outcome in (Outcome.BAD_DATA, Outcome.FAILED, Outcome.INTERRUPTED):
        return next_stage(record)
    return None
