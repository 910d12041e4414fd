"""The night in one sentence, and why: what the reader has to know if there is time for nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from training.gate import Comparison, Decision
from training.gate.wording import metric_name
from training.nightly.outcome import Outcome
from training.nightly.record import RunRecord
from training.page.wording import capitalised, duration, listed, plural, signed
from training.report.progress import next_stage
from training.report.run_files import RunFiles

Status = Literal["published", "kept", "bad", "open"]

_NAMED = 3  # metrics that a sentence names one by one


@dataclass(frozen=True, slots=True)
class Headline:
    """The top of the page.

    Attributes:
        status: Chooses a colour.
        label: The status in two words.
        title: What happened.
        text: What it means.
        reasons: Why, a sentence or two each.
    """

    status: Status
    label: str
    title: str
    text: str
    reasons: tuple[str, ...] = ()


def headline(run: RunFiles) -> Headline:
    """What the run's record and the gate's decision say."""
    record, decision = run.record, run.decision
    if record is None:
        reason = run.problems.get("run.json", "the folder holds no run.json")
        return Headline("open", "no record", "Nothing is known of this run", _sentence(reason))
    match record.outcome:
        case Outcome.BAD_DATA:
            return _bad_data(run, record)
        case Outcome.FAILED:
            return Headline("bad", "failed", f"Failed in stage {_stage(record)}", _live(record), _message(record))
        case Outcome.INTERRUPTED:
            title = f"Stopped in stage {_stage(record)}"
            return Headline("open", "interrupted", title, _live(record), _message(record))
    if decision is None:
        text = f"Stage {_stage(record)} is under way, or the run was killed in it. {_live(record)}"
        return Headline("open", "not finished", "Not finished yet", text)
    return _passed(record, decision) if decision.passed else _refused(record, decision)


def _passed(record: RunRecord, decision: Decision) -> Headline:
    if _published(record):
        return Headline("published", "published", "The new model is live", _gains(record, decision))
    return Headline("published", "passed", "The new model may go live", _gains(record, decision))


def _refused(record: RunRecord, decision: Decision) -> Headline:
    live = record.champion
    title = "The live model stays, the new one was refused" if live else "The first model was refused"
    text = f"{_live(record)} {record.version} was refused, for {plural(len(decision.reasons), 'reason')}:"
    reasons = tuple(capitalised(reason) for reason in decision.reasons)
    return Headline("kept", "champion kept" if live else "refused", title, text, reasons)


def _bad_data(run: RunFiles, record: RunRecord) -> Headline:
    errors = () if run.data_check is None else run.data_check.errors
    reasons = tuple(f"{error.subject}: {error.message}." for error in errors) or _message(record)
    title = f"The data of {run.date} are not fit to train on" if errors else "The data and the experiment do not agree"
    return Headline("bad", "bad data", title, f"The run ended in stage {_stage(record)}. {_live(record)}", reasons)


def _gains(record: RunRecord, decision: Decision) -> str:
    """What is better, what is worse, and against whom, in a sentence."""
    if record.champion is None:
        return f"{record.version} keeps within the floors. There was no live model to compare it with."
    replaces = f"{record.version} {'replaces' if _published(record) else 'is to replace'} {record.champion}"
    if not decision.comparisons:
        return f"{replaces}. The two could not be compared; the new one keeps within the floors."
    said = []
    if better := _metrics(decision, "better"):
        said.append(f"certainly better in {better}")
    if worse := _metrics(decision, "tolerated"):
        said.append(f"certainly worse in {worse}, by no more than is allowed")
    found = listed(said) if said else "no metric is certainly better, and none worse than is allowed"
    return f"{replaces}: {found}."


def _metrics(decision: Decision, verdict: str) -> str:
    """The metrics of one verdict with their gains, in words; empty for none."""
    found = [comparison for comparison in decision.comparisons if comparison.verdict == verdict]
    words = [_gain(comparison) for comparison in found[:_NAMED]]
    if len(found) > _NAMED:
        words.append(f"{len(found) - _NAMED} more")
    return listed(words) if words else ""


def _gain(found: Comparison) -> str:
    return f"{metric_name(found.output, found.metric)} ({signed(found.difference)})"


def _live(record: RunRecord) -> str:
    if _published(record):
        return f"{record.version} is live already."
    return f"{record.champion} stays live." if record.champion else "Nothing is live."


def _published(record: RunRecord) -> bool:
    publish = record.done("publish")
    return record.outcome is Outcome.PUBLISHED or (publish is not None and bool(publish.summary.get("published")))


def _stage(record: RunRecord) -> str:
    return next_stage(record) or "report"


def _message(record: RunRecord) -> tuple[str, ...]:
    return (_sentence(record.message),) if record.message else ()


def _sentence(text: str) -> str:
    """Capitalised, with a full stop."""
    return capitalised(text) if text.endswith((".", "!", "?")) else f"{capitalised(text)}."


def facts(run: RunFiles) -> Iterator[tuple[str, str]]:
    """What identifies the run, beside its outcome."""
    record, settings = run.record, run.settings or {}
    if record is not None:
        yield "version", record.version
        yield "live before", record.champion or "nothing"
    if run.profile is not None:
        yield "rows", f"{run.profile.num_rows:,}"
    if "model.name" in settings and "weighting.name" in settings:
        yield "model", f"{settings['model.name']}, {settings['weighting.name']}"
    if record is not None and record.stages:
        yield "took", duration(sum(stage.seconds for stage in record.stages))
    warnings = {"data": run.data_check, "gate": run.decision}
    if found := [f"{name} {len(said.warnings)}" for name, said in warnings.items() if said and said.warnings]:
        yield "warnings", ", ".join(found)
