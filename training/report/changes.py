"""What changed since the night before: figures side by side, and every setting that is another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from training.page.wording import duration, plural, signed
from training.report.metric_names import metric_title
from training.report.panel import UNKNOWN, Cell, Panel, Remark, Table, shown
from training.report.run_files import RunFiles
from training.report.settings import changed_settings

Row = list[Cell | str]

_METRICS = ("auc", "log_loss", "predicted_over_observed", "rmse")


def changes_panel(run: RunFiles, previous: RunFiles | None) -> Iterator[Panel]:
    """Both nights side by side; nothing where there was none before."""
    if previous is None:
        return
    figures = Table.of(("", previous.date, run.date, "change"), list(_figures(run, previous)))
    settings = _settings(run, previous)
    yield Panel(
        name="changes",
        title=f"What changed since {previous.date}?",
        lead="Quality is each night's own, on its own test rows, so it moves with the data too.",
        parts=(figures,) if settings is None else (figures, settings),
        remarks=() if settings is not None else (Remark("note", _no_settings(run, previous)),),
    )


def _figures(run: RunFiles, previous: RunFiles) -> Iterator[Row]:
    yield _row("rows", _num_rows(previous), _num_rows(run), _count, _relative)
    for task in [] if run.profile is None else run.profile.tasks:
        yield _row(f"mean label of {task}", _label(previous, task), _label(run, task), shown, _difference)
    known = {} if run.metrics is None else run.metrics.test.scalars()
    before = {} if previous.metrics is None else previous.metrics.test.scalars()
    for name, value in known.items():
        output, _, metric = name.partition("/")
        if metric in _METRICS and not output.startswith("fused."):
            yield _row(f"{metric_title(metric)} of {output}", before.get(name), value, shown, _difference)
    yield _row("training took", _seconds(previous), _seconds(run), _duration, _relative)


def _num_rows(night: RunFiles) -> float | None:
    return None if night.profile is None else float(night.profile.num_rows)


def _label(night: RunFiles, task: str) -> float | None:
    found = None if night.profile is None else night.profile.tasks.get(task)
    return None if found is None or found.mean is None else found.mean.value


def _seconds(night: RunFiles) -> float | None:
    train = None if night.record is None else night.record.done("train")
    return None if train is None else train.seconds


def _row(
    name: str,
    before: float | None,
    now: float | None,
    show: Callable[[float | None], str],
    change: Callable[[float, float], str],
) -> Row:
    return [name, show(before), show(now), UNKNOWN if before is None or now is None else change(before, now)]


def _count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _duration(value: float | None) -> str:
    return UNKNOWN if value is None else duration(value)


def _difference(before: float, now: float) -> str:
    return signed(now - before)


def _relative(before: float, now: float) -> str:
    return UNKNOWN if not before else f"{signed(100 * (now / before - 1), 1)} %"


def _settings(run: RunFiles, previous: RunFiles) -> Table | None:
    if run.settings is None or previous.settings is None:
        return None
    changed = changed_settings(previous.settings, run.settings)
    if not changed:
        return None
    rows: list[Row] = [[key, _value(before), _value(after)] for key, before, after in changed]
    title = f"{plural(len(changed), 'setting')} changed"
    return Table.of(("setting", previous.date, run.date), rows, title=title, words=(1, 2))


def _value(setting: str | None) -> str:
    return UNKNOWN if setting is None else setting


def _no_settings(run: RunFiles, previous: RunFiles) -> str:
    for night in (run, previous):
        if night.settings is None:
            return f"Settings not compared: no config.yaml of {night.date} to read."
    return "No setting of the experiment changed."
