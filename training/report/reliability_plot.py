"""Predicted against observed probabilities as a drawing: one panel for each output, before and after calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.stats import binomtest

from training.calibration_report import BeforeAfter, Bin, OutputCalibration
from training.page.theme import HELPS, HURTS, MUTED, WIDTH, inline_svg, styled

CONFIDENCE = 0.95  # of each bin's bar
_COLUMNS = 3
_LEAST = 1e-6  # where the axes begin at the latest
_FEW_DECADES = 1.3  # within which 2 and 5 are labelled beside the powers of ten


def reliability_plot(outputs: Sequence[OutputCalibration]) -> str:
    """The test rows of every output, in bins of about equal numbers of rows."""
    columns = min(_COLUMNS, len(outputs))
    rows = -(-len(outputs) // columns)
    with styled():
        figure = Figure(
            figsize=(WIDTH * columns / _COLUMNS, 3.1 * rows), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
        )
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, found in zip(panels, outputs, strict=False):
            _panel(axes, found.output, found.test)
        for axes in panels[len(outputs) :]:
            axes.set_visible(False)
        names = ", ".join(found.output for found in outputs)
        return inline_svg(figure, "reliability", f"Predicted against observed probability of {names}")


def _panel(axes: Axes, output: str, found: BeforeAfter) -> None:
    axes.set(title=output, xlabel="predicted", ylabel="observed")
    bins = (*found.before.bins, *found.after.bins)
    positive = [value for one in bins for value in (one.predicted, one.observed) if value > 0]
    if not positive:
        axes.annotate("no positives", (0.5, 0.5), xycoords="axes fraction", ha="center", color=MUTED)
        return
    low, high = (max(value, _LEAST) for value in (min(positive) / 1.4, max(positive) * 1.4))
    high = max(high, 2 * low)
    axes.set(xscale="log", yscale="log")
    axes.plot((low, high), (low, high), color=MUTED, linewidth=1, linestyle="--")
    _points(axes, found.before.bins, low, HURTS, "before", filled=False)
    _points(axes, found.after.bins, low, HELPS, "after", filled=True)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    subs = (1.0, 2.0, 5.0) if math.log10(high / low) < _FEW_DECADES else (1.0,)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=subs, numticks=6))
        axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{100 * value:g} %"))
        axis.set_minor_formatter(NullFormatter())
    axes.legend(loc="upper left", handletextpad=0.3, borderaxespad=0.2)


def _points(axes: Axes, bins: Sequence[Bin], floor: float, colour: str, label: str, *, filled: bool) -> None:
    """Bins as points, those without positives at the floor of the axes; of filled ones, bars show what chance does."""
    predicted = [max(one.predicted, floor) for one in bins]
    observed = [max(one.observed, floor) for one in bins]
    face = colour if filled else "none"
    axes.plot(predicted, observed, "o", color=colour, markerfacecolor=face, markersize=5 if filled else 6, label=label)
    if filled:
        bounds = np.clip([_interval(one) for one in bins], floor, None)
        axes.vlines(predicted, bounds[:, 0], bounds[:, 1], color=colour, linewidth=1.4, alpha=0.45)


def _interval(one: Bin) -> tuple[float, float]:
    """Rates that would be as likely to show what the bin shows."""
    found = binomtest(round(one.observed * one.rows), one.rows).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)
