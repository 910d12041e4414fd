"""Is tonight's model better than the live one? The gate's figures, drawn and listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from training.gate import Comparison, Decision, FloorCheck
from training.page.wording import capitalised, percent, signed
from training.report.comparison_plot import comparison_plot
from training.report.metric_names import metric_title
from training.report.panel import Cell, Panel, Part, Plot, Remark, Table, Tone, shown
from training.report.run_files import RunFiles

_VERDICTS: Mapping[str, tuple[str, Tone]] = {
    "better": ("better", "up"),
    "not_worse": ("not worse than allowed", ""),
    "unclear": ("not certain", ""),
    "tolerated": ("worse, within what is allowed", "down"),
    "worse": ("worse than allowed", "down"),
    "too_good": ("too good to be true", "down"),
    "kept": ("kept", ""),
    "broken": ("broken", "down"),
}


def comparison_panel(run: RunFiles) -> Iterator[Panel]:
    """What the gate compared, what it held against floors, and what it could not judge."""
    if (decision := run.decision) is None:
        return
    parts: list[Part] = []
    if decision.comparisons:
        parts = [Plot(comparison_plot(decision.comparisons), _caption(decision)), _comparisons(decision)]
    if decision.floors:
        parts.append(_floors(decision.floors))
    against = decision.champion_version
    yield Panel(
        name="comparison",
        title="Is it better than what is live?" if against else "Does it keep within the floors?",
        lead=f"{decision.challenger_version} against {against}, both on the same {_rows(decision)}."
        if against
        else f"{decision.challenger_version} alone, on {_rows(decision)}: nothing was live to compare it with.",
        parts=tuple(parts),
        remarks=tuple(_remarks(decision)),
    )


def _remarks(decision: Decision) -> Iterator[Remark]:
    for warning in decision.warnings:
        yield Remark("warning", capitalised(warning))
    for found in decision.not_compared:
        metric = metric_title(found.metric) if found.metric else ""
        yield Remark("note", f"{found.reason}.", about=" of ".join(filter(None, (metric, found.output))))


def _rows(decision: Decision) -> str:
    rows = f"{decision.num_rows:,} rows"
    return rows if decision.unit == "rows" else f"{rows} of {decision.num_clusters:,} {decision.unit}"


def _caption(decision: Decision) -> str:
    return (
        "Diamond: what the new model gains, so that right of 0 is better in every panel (of errors, what they fall by; "
        "of predicted over observed, what it comes nearer to 1). Bar: its interval; all bars hold at once with "
        f"{percent(decision.confidence)} confidence, from {decision.resamples:,} resamples of {decision.unit}. Orange "
        "tick: the loss that is allowed. A bar wholly left of 0 whose diamond is beyond the tick refuses the model. "
        f"Fused scores of both by {decision.policy}."
    )


def _comparisons(decision: Decision) -> Table:
    outputs = list(dict.fromkeys(found.output for found in decision.comparisons))
    found = sorted(decision.comparisons, key=lambda comparison: outputs.index(comparison.output))
    columns = ("output", "metric", "live", "new", "gain", "interval", "allowed loss", "verdict")
    return Table.of(columns, [_comparison(comparison) for comparison in found], words=(1, 7))


def _comparison(found: Comparison) -> list[Cell | str]:
    words, tone = _VERDICTS[found.verdict]
    low, high = found.interval
    return [
        *(found.output, metric_title(found.metric), shown(found.champion), shown(found.challenger)),
        Cell(signed(found.difference), tone),
        f"{signed(low)} to {signed(high)}",
        shown(found.allowed),
        Cell(words, tone),
    ]


def _floors(floors: Sequence[FloorCheck]) -> Table:
    """Open where one is broken."""
    verdicts = Counter(_VERDICTS[check.verdict][0] for check in floors)
    counts = ", ".join(f"{count} {words}" for words, count in verdicts.items())
    columns = ("output", "metric", "new", "interval", "has to be", "verdict")
    rows = [_floor(check) for check in floors]
    folded = all(check.verdict != "broken" for check in floors)
    return Table.of(columns, rows, title=f"Floors, whatever is live: {counts}", words=(1, 4, 5), folded=folded)


def _floor(check: FloorCheck) -> list[Cell | str]:
    words, tone = _VERDICTS[check.verdict]
    low, high = check.interval
    limits = [f"at least {check.at_least:g}"] if check.at_least is not None else []
    limits += [f"at most {check.at_most:g}"] if check.at_most is not None else []
    figures = [shown(check.value), f"{shown(low)} to {shown(high)}"]
    return [check.output, metric_title(check.metric), *figures, ", ".join(limits), Cell(words, tone)]
