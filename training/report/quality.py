"""What is the model worth by itself?"""

from __future__ import annotations

from collections.abc import Iterator

from training.evaluation import EvaluationReport, OutputReport
from training.report.metric_names import metric_title
from training.report.panel import UNKNOWN, Cell, Panel, Remark, Table, shown
from training.report.run_files import RunFiles


def quality_panel(run: RunFiles) -> Iterator[Panel]:
    """Every metric of the test rows, and of the validation rows; nothing for a run that was not evaluated."""
    if (metrics := run.metrics) is None:
        return
    notes = [(found.output, note) for found in metrics.test.outputs for note in found.notes]
    yield Panel(
        name="quality",
        title="What is the model worth by itself?",
        lead=f"Calibrated outputs on {metrics.test.num_rows:,} test rows, which nothing was fitted on.",
        parts=(
            _table(metrics.test, "Test rows"),
            _table(metrics.valid, "Validation rows, which chose the epoch and the calibration", folded=True),
        ),
        remarks=tuple(Remark("note", f"{note}.", about=output) for output, note in notes),
    )


def _table(report: EvaluationReport, title: str, *, folded: bool = False) -> Table:
    scalars = report.scalars()
    metrics = list(dict.fromkeys(name.split("/", 1)[1] for name in scalars))
    named = [(found.output, found.output, found) for found in report.outputs]
    named += [(f"fused score on {found.output}", f"fused.{found.output}", found) for found in report.fused]
    rows = [
        [label, *_support(found), *(shown(scalars.get(f"{key}/{metric}")) for metric in metrics)]
        for label, key, found in named
    ]
    columns = ("output", "rows", "positives", *map(metric_title, metrics))
    return Table.of(columns, rows, title=title, folded=folded)


def _support(found: OutputReport) -> list[Cell | str]:
    return [f"{found.num_rows:,}", UNKNOWN if found.num_positives is None else f"{found.num_positives:,}"]
