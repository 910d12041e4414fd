"""The plot of what reading costs: memory over rows read, and the share of training that waits for data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_LIMIT_MEGABYTES = 2000
_LIMIT_SHARE = 0.05


def plot_reading(sizes: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw both, one curve and one bar per size of the log.

    Args:
        sizes: Figures of each size, as `benchmarks.reading` keeps them.
        path: SVG file to write: the same for the same figures.
    """
    with mpl.rc_context({"svg.hashsalt": "reading", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(10, 3.8), layout="constrained")
        memory, waiting = figure.subplots(1, 2, width_ratios=[2, 1])
        _draw_memory(memory, sizes)
        _draw_waiting(waiting, sizes)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_memory(axes: Axes, sizes: Sequence[Mapping[str, Any]]) -> None:
    for found in sizes:
        curve = found["memory"]
        points = [
            (rows / 1e6, megabytes)
            for rows, megabytes, phase in zip(curve["rows_read"], curve["megabytes"], curve["phase"], strict=True)
            if phase in {"train", "stream"}
        ]
        if points:
            axes.plot(*zip(*points, strict=True), label=f"{found['rows'] / 1e6:.0f} M rows on disk", linewidth=1.2)
    axes.axhline(_LIMIT_MEGABYTES, color="0.6", linestyle="--", linewidth=1)
    axes.annotate("limit", (0, _LIMIT_MEGABYTES), (2, -10), textcoords="offset points", color="0.4")
    axes.set(xlabel="training rows read in the epoch, millions", ylabel="resident memory, MB", ylim=(0, None))
    axes.set_title("memory does not grow with the rows")
    axes.legend(loc="lower right", fontsize=8)


def _draw_waiting(axes: Axes, sizes: Sequence[Mapping[str, Any]]) -> None:
    names = [f"{found['rows'] / 1e6:.0f} M" for found in sizes]
    axes.bar(names, [100 * found["wait_share"] for found in sizes], color="tab:blue", width=0.5)
    axes.axhline(100 * _LIMIT_SHARE, color="0.6", linestyle="--", linewidth=1)
    axes.set(xlabel="rows on disk", ylabel="share of training that waits for data, %", ylim=(0, 130 * _LIMIT_SHARE))
    axes.set_title("steps hardly wait")
