"""The plot of latency against the size of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_MODES = (("with_table", "items in a table", "C0"), ("without_table", "rows of the store", "C1"))


def plot_catalogue(sizes: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw latency of whole requests, and the time that finding and encoding candidates takes of it.

    Args:
        sizes: Figures of each size, as `benchmarks.catalogue` keeps them.
        path: SVG file to write: the same for the same figures.
    """
    curve = [one for one in sizes if one["users"] == min(other["users"] for other in sizes)]
    with mpl.rc_context({"svg.hashsalt": "catalogue", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        latency, lookup = figure.subplots(1, 2)
        _draw_latency(latency, curve)
        _draw_lookup(lookup, curve)
        for axes in (latency, lookup):
            axes.set(xlabel="items", xscale="log", ylim=(0, None))
            axes.legend(fontsize=8)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_latency(axes: Axes, sizes: Sequence[Mapping[str, Any]]) -> None:
    items = [one["items"] for one in sizes]
    for mode, label, colour in _MODES:
        axes.plot(items, [one[mode]["p50_ms"] for one in sizes], "o-", color=colour, label=f"{label}, median")
        axes.plot(items, [one[mode]["p99_ms"] for one in sizes], ":", color=colour, label="99th percentile")
    axes.set_ylabel("/rank with 500 candidates, ms")


def _draw_lookup(axes: Axes, sizes: Sequence[Mapping[str, Any]]) -> None:
    items = [one["items"] for one in sizes]
    for key, label in (("encode_us", "encoded"), ("find_us", "found")):
        axes.plot(items, [one[key]["median"] for one in sizes], "o-", label=f"500 candidates {label}")
    axes.set_ylabel("microseconds")
