"""Rows that are too old, of the future or without a time, and a day without rows."""

from __future__ import annotations

from collections.abc import Iterator

from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded, switched


def time_findings(evidence: Evidence) -> Iterator[Finding]:
    """What the timestamps say; nothing where the schema names none."""
    profile, config, times = evidence.profile, evidence.config, evidence.profile.times
    if times is None:
        if profile.timestamp_column is not None and profile.num_rows:
            text = (
                f"'{profile.timestamp_column}' holds numbers of an unknown unit, so that no row can be placed in time; "
                "set data_check.timestamp_unit"
            )
            yield from switched("timestamps", profile.timestamp_column, config.timestamps, text)
        return
    between = f"times go from {times.first} to {times.last} UTC"
    if times.num_rows and not times.num_of_day:
        text = f"no row is of {evidence.date} ({config.timezone}), {between}; wait for its files, or correct the date"
        yield from switched("missing_day", "time", config.missing_day, text, 0.0, 1.0)
    of_all = f"of {times.num_rows:,} rows"
    text = f"{times.num_null:,} {of_all} have no '{times.column}', limit {{limit}} of all; drop them, or fill it"
    yield from graded("null_timestamps", "time", times.share(times.num_null), config.null_timestamps, text)
    text = (
        f"{times.num_old:,} {of_all} are more than {config.max_age_days} days before {evidence.date}, {between}, "
        f"limit {{limit}} of all; look for wrong units or clocks, or raise data_check.max_age_days"
    )
    yield from graded("old_rows", "time", times.share(times.num_old), config.old_rows, text)
    text = (
        f"{times.num_future:,} {of_all} are after {evidence.date} ({config.timezone}) by more than "
        f"{config.clock_tolerance_seconds:g} s, {between}, limit {{limit}} of all; give rows up to the date alone"
    )
    yield from graded("future_rows", "time", times.share(times.num_future), config.future_rows, text)
