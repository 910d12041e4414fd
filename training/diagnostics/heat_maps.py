"""The heat maps of a report, one function per section; each returns an SVG element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from training.diagnostics.affinity import Affinity
from training.diagnostics.covariance import CovarianceSimilarity
from training.diagnostics.gates import GateReport, GateUse
from training.page.theme import GRID, HELPS, HURTS, INK, MUTED, WIDTH, inline_svg, styled
from training.page.wording import percent, signed

_NONE = 0.12  # opacity of a cell that has no strength
_STRONGEST = 0.62  # opacity of a full cell: its number stays readable on light and dark pages


def affinity_plot(found: Affinity) -> str:
    """What a step for each task (rows) does to the loss of each (columns)."""
    values = 1000 * np.array(found.mean)
    notes = [[_affinity_note(found, i, j) for j in range(len(found.tasks))] for i in range(len(found.tasks))]
    with styled():
        figure = _matrix_figure(len(found.tasks))
        axes = figure.subplots()
        strengths = values / np.abs(values).max(axis=0, keepdims=True).clip(1e-12)
        _cells(axes, strengths, [[signed(value, 2) for value in row] for row in values], notes)
        _matrix_axes(axes, found.tasks, "a step for …", found.tasks, "… changes the loss of  (‰ less per step)")
        return inline_svg(figure, "affinity", "Relative decrease of each task's loss by a step for each task")


def _affinity_note(found: Affinity, source: int, target: int) -> str:
    if source == target:
        return "its own step"
    share = found.share[source][target]
    certainty = "" if found.certain(source, target) else "not certain, "
    return (
        f"{certainty}± {2000 * found.error[source][target]:.2f}"
        if share is None
        else f"{certainty}{_share(share)} of its own"
    )


def _share(share: float) -> str:
    return percent(share) if share >= 0 else f"−{percent(-share)}"


def covariance_plot(found: CovarianceSimilarity) -> str:
    """Similarity of the tasks' inputs, normalised, with the raw score below."""
    size = range(len(found.tasks))
    values = np.array(found.normalised)
    notes = [
        [f"raw {found.raw[i][j]:.2f}" if found.informative[i][j] or i == j else "says nothing" for j in size]
        for i in size
    ]
    informative = np.array(found.informative)
    with styled():
        figure = _matrix_figure(len(found.tasks))
        axes = figure.subplots()
        _cells(
            axes, np.where(informative, values, np.nan), [[f"{value:.2f}" for value in row] for row in values], notes
        )
        _matrix_axes(axes, found.tasks, "", found.tasks, "covariance similarity, normalised: 1 = vary alike")
        return inline_svg(figure, "covariance", "Covariance similarity of the tasks' inputs")


def gate_plot(found: GateReport) -> str:
    """Mean weight of every expert for every gate; gates that choose among other experts get panels of their own."""
    sets = list(dict.fromkeys(gate.experts for gate in found.gates))
    groups: list[list[GateUse]] = [[gate for gate in found.gates if gate.experts == experts] for experts in sets]
    with styled():
        height = sum(0.62 * len(group) + 0.75 for group in groups)
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[len(group) + 1 for group in groups])
        for axes, experts, group in zip(panels[:, 0], sets, groups, strict=True):
            shares = np.array([gate.mean for gate in group])
            strongest = max(float(shares.max()), 2 / len(experts))
            _cells(axes, shares / strongest, [[percent(share) for share in gate.mean] for gate in group])
            names = [f"{gate.gate}  ({gate.per_row:.1f} a row)" for gate in group]
            _matrix_axes(axes, names, "", experts, "")
        return inline_svg(figure, "gates", "Mean gate weight of every expert for every task")


def matrix_width(num_tasks: int) -> int:
    """Pixels that a matrix of tasks by tasks needs on the page, so that its type is as large as elsewhere."""
    return round(_matrix_inches(num_tasks) * 940 / WIDTH)


def _matrix_inches(size: int) -> float:
    return min(WIDTH, 2.6 + 1.7 * size)


def _matrix_figure(size: int) -> Figure:
    return Figure(figsize=(_matrix_inches(size), 1.1 + 0.72 * size), layout="constrained")


def _cells(
    axes: Axes,
    strengths: NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    notes: Sequence[Sequence[str]] | None = None,
) -> None:
    """A heat map of strengths in [-1, 1]: blue above 0, orange below, grey where there is none (NaN)."""
    for i, row in enumerate(strengths):
        for j, strength in enumerate(row):
            colour = MUTED if np.isnan(strength) else HELPS if strength >= 0 else HURTS
            alpha = _NONE if np.isnan(strength) else _STRONGEST * min(1.0, abs(float(strength)))
            axes.add_patch(Rectangle((j - 0.48, i - 0.46), 0.96, 0.92, facecolor=colour, alpha=alpha, linewidth=0))
            axes.add_patch(Rectangle((j - 0.48, i - 0.46), 0.96, 0.92, fill=False, edgecolor=GRID, linewidth=0.8))
            axes.text(j, i - (0.1 if notes else 0), texts[i][j], ha="center", va="center", fontsize=10)
            if notes:
                axes.text(j, i + 0.24, notes[i][j], ha="center", va="center", fontsize=7.5, color=INK, alpha=0.8)


def _matrix_axes(axes: Axes, rows: Sequence[str], rows_title: str, columns: Sequence[str], columns_title: str) -> None:
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), list(rows), color=INK)
    axes.set_xticks(range(len(columns)), list(columns), color=INK)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(columns_title, labelpad=9)
    axes.set_ylabel(rows_title)
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
