"""What data? Rows, labels, features, and what the check found in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from training.data_check import DataProfile
from training.data_check.data_profile import FeatureProfile, Rate
from training.data_check.histogram import NumericHistogram
from training.data_check.psi import drift
from training.page.wording import listed, percent, plural
from training.report.panel import UNKNOWN, Cell, Panel, Remark, Table, shown
from training.report.run_files import RunFiles

_BINS, _VALUES, _SIGMAS = 10, 50, 4.0  # as the check's defaults: they choose the cells of the shown index
_BEFORE = "night before"
_LEAST = 0.0005  # what shows in three digits
_FULL_BAR = 0.25  # an index that is by custom a large change


def data_panel(run: RunFiles, previous: RunFiles | None) -> Iterator[Panel]:
    """The profile of the data, beside the one before; the findings of the check."""
    profile, report = run.profile, run.data_check
    if profile is None and report is None:
        return
    before = None if previous is None else previous.profile
    tables = () if profile is None else (_labels(profile, before), _features(profile, before))
    findings = [] if report is None else report.findings
    yield Panel(
        name="data",
        title="What data?",
        lead=f"{_extent(run)} {_compared(run)}",
        parts=tables,
        remarks=tuple(Remark(finding.severity, f"{finding.message}.", about=finding.subject) for finding in findings),
    )


def _extent(run: RunFiles) -> str:
    if (profile := run.profile) is None:
        return f"No profile: {run.why_absent('profile.json')}."
    times = profile.times
    if times is None or times.first is None or times.last is None:
        return f"{plural(profile.num_rows, 'row')}."
    span = f"from {_minute(times.first)} to {_minute(times.last)}"
    return f"{plural(profile.num_rows, 'row')} {span} UTC, {times.num_of_day:,} of the night's date."


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ")


def _compared(run: RunFiles) -> str:
    if (report := run.data_check) is None:
        return f"Not checked: {run.why_absent('data_check.json')}."
    by_noun = {"error": report.errors, "warning": report.warnings}
    counts = [plural(len(findings), noun) for noun, findings in by_noun.items() if findings]
    found = listed(counts) if counts else "nothing to remark"
    if not report.compared_with:
        return f"The check found {found}; there was no earlier night to compare with."
    return f"The check found {found}, compared with {plural(len(report.compared_with), 'earlier night')}."


def _labels(profile: DataProfile, before: DataProfile | None) -> Table:
    columns = ["task", "label", "labelled rows", "without label", "mean"]
    rows: list[list[Cell | str]] = [
        [name, task.column, f"{task.num_rows:,}", percent(task.null_rate.value), _rate(task.mean)]
        for name, task in profile.tasks.items()
    ]
    if before is not None:
        columns.append(_BEFORE)
        for row, name in zip(rows, profile.tasks, strict=True):
            row.append(_rate(before.tasks[name].mean if name in before.tasks else None))
    return Table.of(columns, rows, title="Labels, in each task's sample space", words=(1,))


def _rate(rate: Rate | None) -> Cell:
    return Cell(UNKNOWN) if rate is None else Cell(shown(rate.value), note=f"± {2 * rate.standard_error:.4f}")


def _features(profile: DataProfile, before: DataProfile | None) -> Table:
    columns = ["feature", "column", "values", "best AUC alone", "missing"]
    rows: list[list[Cell | str]] = [
        [name, feature.column, _values(feature), shown(_best_auc(profile, name), 3), percent(feature.null_rate.value)]
        for name, feature in profile.features.items()
    ]
    title = f"Features ({len(rows)})"
    if before is not None:
        columns += [_BEFORE, "drift (PSI)"]
        drifts = {name: _drift(before.features.get(name), feature) for name, feature in profile.features.items()}
        for row, (name, moved) in zip(rows, drifts.items(), strict=True):
            earlier = before.features.get(name)
            row += [UNKNOWN if earlier is None else percent(earlier.null_rate.value), _drift_cell(moved)]
        title += _largest({name: moved for name, moved in drifts.items() if moved is not None})
    return Table.of(columns, rows, title=title, words=(1, 2), folded=True)


def _best_auc(profile: DataProfile, feature: str) -> float | None:
    return max((found.auc for found in profile.leakage if found.feature == feature), default=None)


def _drift(before: FeatureProfile | None, feature: FeatureProfile) -> float | None:
    moved = None if before is None else drift(before.histogram, feature.histogram, _BINS, _VALUES, _SIGMAS)
    return None if moved is None else moved.psi


def _largest(drifts: Mapping[str, float]) -> str:
    """The end of the title, so that it can stay folded."""
    if not drifts:
        return ""
    name = max(drifts, key=lambda feature: drifts[feature])
    if drifts[name] < _LEAST:
        return ": none has moved beyond chance"
    return f": {name} has moved most, by {shown(drifts[name], 3)}"


def _drift_cell(psi: float | None) -> Cell:
    if psi is None:
        return Cell(UNKNOWN)
    return Cell(shown(psi, 3), bar=min(1.0, psi / _FULL_BAR) if psi >= _LEAST else None)


def _values(feature: FeatureProfile) -> str:
    if feature.seen is not None:
        about = "" if feature.seen.complete else "about "
        return f"{about}{feature.seen.num_distinct:,.0f} different"
    if isinstance(feature.histogram, NumericHistogram) and feature.histogram.median is not None:
        return f"median {feature.histogram.median:.4g}"
    return UNKNOWN
