"""Do the probabilities mean what they say? Before and after calibration."""

from __future__ import annotations

from collections.abc import Iterator

from training.calibration_report import BeforeAfter, OutputCalibration, Truthfulness
from training.page.wording import percent
from training.report.panel import Cell, Panel, Part, Plot, Remark, Table, shown
from training.report.reliability_plot import CONFIDENCE, reliability_plot
from training.report.run_files import RunFiles

_SPLITS = {"test": "test", "valid": "valid (fitted on)"}


def calibration_panel(run: RunFiles) -> Iterator[Panel]:
    """Reliability of every binary output; nothing for a run without any."""
    if run.calibration is None or not run.calibration.outputs:
        return
    outputs = run.calibration.outputs
    parts: tuple[Part, ...] = (Plot(reliability_plot(outputs), _CAPTION), _table(outputs))
    yield Panel(
        name="calibration",
        title="Do the probabilities mean what they say?",
        lead="Before: the network's own probabilities. After: with the map that was fitted on the validation rows.",
        parts=parts,
        remarks=tuple(Remark("warning", f"{found.note}.", about=found.output) for found in outputs if found.note),
    )


_CAPTION = (
    "Each point: a twentieth of the test rows, ordered by probability; on the dashed line what was predicted is what "
    f"was observed. Bars: {percent(CONFIDENCE)} intervals of what was observed (Wilson). Both axes are logarithmic; a "
    "point at the lower edge had no positives."
)


def _table(outputs: tuple[OutputCalibration, ...]) -> Table:
    rows = [
        _row(found, name, both)
        for found in outputs
        for name, both in ((_SPLITS["test"], found.test), (_SPLITS["valid"], found.valid))
    ]
    columns = ("output", "map", "rows", "predicted / observed", "ECE", "log loss")
    return Table.of(columns, rows, title="Before → after", words=(1, 2))


def _row(found: OutputCalibration, split: str, both: BeforeAfter) -> list[Cell | str]:
    note = "" if found.negative_sampling_rate == 1 else f"negatives kept: {found.negative_sampling_rate:g}"
    return [
        found.output,
        Cell(found.map, note=note),
        split,
        _pair(both, "predicted_over_observed", 3),
        _pair(both, "ece", 4),
        _pair(both, "log_loss", 4),
    ]


def _pair(both: BeforeAfter, figure: str, digits: int) -> str:
    before, after = (_figure(side, figure) for side in (both.before, both.after))
    return f"{shown(before, digits)} → {shown(after, digits)}"


def _figure(side: Truthfulness, name: str) -> float | None:
    value: float | None = getattr(side, name)
    return value
