"""Columns and types, against those of the night before."""

from __future__ import annotations

from collections.abc import Iterator

from training.data_check.families import UNKNOWN
from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, switched


def column_findings(evidence: Evidence) -> Iterator[Finding]:
    """Columns that are gone or new, and those that changed their type."""
    if evidence.latest is None or not evidence.profile.num_rows:
        return
    now, before, config = evidence.profile.columns, evidence.latest.columns, evidence.config
    day = evidence.latest.date
    for name in sorted(before.keys() - now.keys()):
        text = (
            f"column '{name}' was read on {day} and is not any more; name it in the schema again, or expect the live "
            "model to differ in it"
        )
        yield from switched("columns", name, config.columns, text)
    for name in sorted(now.keys() - before.keys()):
        text = (
            f"column '{name}' is new since {day}: nothing to compare it with tonight; nothing to do if that was meant"
        )
        yield from switched("columns", name, config.columns, text)
    for name in sorted(now.keys() & before.keys()):
        families = {now[name].family, before[name].family}
        if len(families - {UNKNOWN}) > 1:
            text = (
                f"column '{name}' holds {now[name].type}, on {day} it held {before[name].type}; write it as before, or "
                "train once without this check if that was meant (data_check.column_types)"
            )
            yield from switched("column_types", name, config.column_types, text)
