"""The plot of nights one after the other: quality and time of every way to train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLORS = ("0.65", "0.4", "tab:green", "tab:blue", "tab:red")
_UNIT = 1e4  # AUC in 0.0001

Lines = Mapping[str, Sequence[Sequence[float]]]  # by way to train, one row per seed, one figure per night


def plot_nights(auc: Mapping[str, Lines], seconds: Lines, path: Path) -> None:
    """Draw AUC of each output less that of training from scratch, night by night, and the time of a night.

    Args:
        auc: Differences to training from scratch, by output.
        seconds: Of each way that trains.
        path: SVG file to write: the same for the same figures.
    """
    colors = dict(zip(next(iter(auc.values())), _COLORS, strict=False))
    with mpl.rc_context({"svg.hashsalt": "nights", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        panels = figure.subplots(1, len(auc) + 1)
        for axes, (output, lines) in zip(panels, auc.items(), strict=False):
            _draw(axes, lines, colors)
            axes.set_title(f"{output}: AUC on the next day")
        panels[0].set_ylabel("to training from scratch, in 0.0001")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(colors), fontsize=8)
        _times(panels[-1], seconds, colors)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw(axes: Axes, lines: Lines, colors: Mapping[str, str]) -> None:
    for name, seeds in lines.items():
        figures_SN = _UNIT * np.asarray(seeds)
        nights = np.arange(1, figures_SN.shape[1] + 1)
        axes.plot(nights, figures_SN.T, color=colors[name], linewidth=0.5, alpha=0.4)
        axes.plot(nights, figures_SN.mean(axis=0), "o-", color=colors[name], markersize=4, label=name)
    axes.set_xlabel("night")


def _times(axes: Axes, seconds: Lines, colors: Mapping[str, str]) -> None:
    medians = [float(np.median(values)) for values in seconds.values()]
    axes.bar(range(len(medians)), medians, color=[colors[name] for name in seconds])
    axes.set_xticks(range(len(medians)), [name.replace(", ", "\n") for name in seconds], fontsize=8)
    axes.set_title("seconds of stage `train`, median")
