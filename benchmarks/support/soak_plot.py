"""A long run as a plot: times to an answer, what was not whole, and memory, all over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_PERCENTILES = ("p50", "p99", "p99.9")


def plot_soak(figures: dict[str, Any], path: Path) -> None:
    """Write the plot.

    Args:
        figures: As `benchmarks.soak` keeps them.
        path: SVG file to write: the same for the same figures.
    """
    slices = figures["slices"]
    minutes = [row["minute"] for row in slices]
    with mpl.rc_context({"svg.hashsalt": "soak", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(8, 7), layout="constrained")
        times, errors, memory = figure.subplots(3, 1, sharex=True)
        for name in _PERCENTILES:
            times.plot(minutes, [row["milliseconds"].get(name, float("nan")) for row in slices], label=name)
        times.set(ylabel="ms to a ranking", yscale="log")
        times.legend(loc="upper right", ncols=len(_PERCENTILES))
        times.set_title(
            f"{figures['per_second']:.0f} requests per second, two workers, "
            f"{figures['swaps']} new models, {figures['tables']} new item tables"
        )
        errors.step(minutes, [sum(row["abnormal"].values()) for row in slices], where="post", color="tab:red")
        errors.set(ylabel="not a whole ranking", ylim=(0, None))
        memory.plot(minutes, [row["private_megabytes"] for row in slices], color="tab:green")
        memory.set(ylabel="private memory, MB", xlabel="minutes", ylim=(0, None))
        for axes in (times, errors, memory):
            axes.grid(alpha=0.3)
        figure.savefig(path, format="svg", metadata={"Date": None})
