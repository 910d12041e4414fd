"""How many rows there are, against what earlier nights had."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded


def row_findings(evidence: Evidence) -> Iterator[Finding]:
    """None at all, too few, too many."""
    profile, config = evidence.profile, evidence.config
    if not profile.num_rows:
        text = "no row was found, expected at least one; check the path, the date and data_check.window_days"
        yield Finding(severity="error", check="rows_fewer", subject="rows", message=text, value=0.0, limit=1.0)
        return
    counts = {"rows": (profile.num_rows, [reference.num_rows for reference in evidence.references])}
    if profile.times is not None:
        earlier = [reference.times.num_of_day for reference in evidence.references if reference.times is not None]
        if (of_day := (profile.times.num_of_day, earlier)) != counts["rows"]:
            counts["rows of the day"] = of_day
    for what, (count, others) in counts.items():
        usual = median(others) if others else 0
        if not usual or not count:  # a day without a row is a finding of its own
            continue
        text = f"{count:,} {what} were found, {usual:,.0f} are usual (median of {len(others)}); "
        fewer = f"{text}too few by a factor of {usual / count:.3g}, limit {{limit}}; look for files not there yet"
        more = f"{text}too many by a factor of {count / usual:.3g}, limit {{limit}}; look for files written twice"
        yield from graded("rows_fewer", what, usual / count, config.rows_fewer, fewer)
        yield from graded("rows_more", what, count / usual, config.rows_more, more)
