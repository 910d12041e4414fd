"""Challenger against champion as a drawing: one panel for each metric, one line for each output."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from training.gate import Comparison
from training.page.theme import HELPS, HURTS, INK, MUTED, PAPER, WIDTH, inline_svg, styled
from training.page.wording import signed
from training.report.metric_names import metric_title

_COLUMNS = 2
_COLOURS = {
    "better": HELPS,
    "not_worse": MUTED,
    "unclear": MUTED,
    "tolerated": HURTS,
    "worse": HURTS,
    "too_good": HURTS,
}


def comparison_plot(comparisons: Sequence[Comparison]) -> str:
    """Every difference with its interval, and the loss that is allowed."""
    metrics = list(dict.fromkeys(found.metric for found in comparisons))
    groups = [[found for found in comparisons if found.metric == metric] for metric in metrics]
    columns = min(_COLUMNS, len(groups))
    rows = [groups[place : place + columns] for place in range(0, len(groups), columns)]
    lines = [list(dict.fromkeys(found.output for group in row for found in group)) for row in rows]
    with styled():
        height = sum(0.34 * len(outputs) + 0.9 for outputs in lines)
        figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(h_pad=0.1))
        ratios = [len(outputs) + 1.2 for outputs in lines]
        panels = figure.subplots(len(rows), columns, squeeze=False, height_ratios=ratios)
        for place, (axes, group) in enumerate(zip(panels.ravel(), groups, strict=False)):
            _panel(axes, group, lines[place // columns])
        for axes in panels.ravel()[len(groups) :]:
            axes.set_visible(False)
        words = "; ".join(f"{metric_title(c.metric)} of {c.output} {signed(c.difference)}" for c in comparisons)
        return inline_svg(figure, "comparison", f"Challenger minus champion: {words}")


def _panel(axes: Axes, group: Sequence[Comparison], outputs: Sequence[str]) -> None:
    """One metric, each output in the line that it has in the panel beside, too."""
    low = min(min(found.interval[0], -found.allowed) for found in group)
    high = max(max(found.interval[1], 0.0) for found in group)
    margin = 0.06 * (high - low or 1e-6)
    axes.axvline(0, color=INK, linewidth=1)
    for found in group:
        row = outputs.index(found.output)
        colour = _COLOURS[found.verdict]
        axes.plot(found.interval, (row, row), color=colour, linewidth=6, alpha=0.35)
        axes.plot([found.difference], [row], "D", color=colour, markersize=6, markeredgecolor=PAPER)
        axes.plot([-found.allowed] * 2, (row - 0.36, row + 0.36), color=HURTS, linewidth=1.6)
    axes.set(xlim=(low - margin, high + margin), ylim=(len(outputs) - 0.5, -0.5), title=metric_title(group[0].metric))
    names = [found.output for found in group]
    axes.set_yticks([outputs.index(name) for name in names], names, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:+.4g}".replace("-", "−") if value else "0")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
