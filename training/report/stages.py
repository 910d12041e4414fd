"""How did the night go? Its stages, how long each took, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from training.nightly.record import RunRecord, StageRecord
from training.page.wording import duration, plural
from training.report.panel import UNKNOWN, Cell, Panel, Remark, Table
from training.report.progress import steps
from training.report.run_files import RunFiles

_ELSEWHERE = ("warm_start", "reasons")  # the page has a better place for these


def stages_panel(run: RunFiles) -> Iterator[Panel]:
    """Every stage; nothing where there is no record."""
    if (record := run.record) is None:
        return
    longest = max((stage.seconds for stage in record.stages), default=0.0) or 1.0
    rows: list[list[Cell | str]] = []
    for step in steps(record):
        if (stage := record.done(step.name)) is not None:
            rows.append(_done(stage, longest))
        else:
            rows.append([step.name, UNKNOWN, UNKNOWN, "stopped here" if step.state == "stopped" else "not done"])
    total = sum(stage.seconds for stage in record.stages)
    yield Panel(
        name="stages",
        title="How did the night go?",
        lead=f"Started {record.started_at:%Y-%m-%d %H:%M} UTC; {duration(total)} in stages that are done.",
        parts=(Table.of(("stage", "took", "ended (UTC)", "found"), rows, words=(1, 3)),),
        remarks=tuple(_remarks(record)),
    )


def _done(stage: StageRecord, longest: float) -> list[Cell | str]:
    took = Cell(duration(stage.seconds), bar=stage.seconds / longest)
    return [stage.name, took, f"{stage.finished_at:%H:%M:%S}", _said(stage.summary) or UNKNOWN]


def _remarks(record: RunRecord) -> Iterator[Remark]:
    if record.attempts > 1:
        text = f"{plural(record.attempts, 'attempt')}: stages that were done were not done again."
        yield Remark("note", text)


def _said(summary: Mapping[str, Any]) -> str:
    """A summary in words, without what is elsewhere on the page.

    Example:
        >>> _said({"rows": {"train": 1200, "valid": 90}, "warnings": 0, "warm_start": "…"})
        'rows: train 1,200, valid 90; warnings: 0'
    """
    return "; ".join(
        f"{key.replace('_', ' ')}: {_value(value)}"
        for key, value in summary.items()
        if key not in _ELSEWHERE and value not in (None, [], {})
    )


def _value(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"
        case dict():
            return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
        case list():
            return ", ".join(map(_value, value))
    return str(value)
