"""Losses, weights and quality over training, as drawings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from training.history import Curve, Epoch
from training.page.lines import end_labels, running_mean
from training.page.theme import MUTED, PAPER, WIDTH, inline_svg, styled, task_colour
from training.report.panel import shown

# Shapes: P = points of a curve, T = tasks

_COLUMNS = 3


def loss_plot(curve: Curve) -> str:
    """Training loss over the steps, one panel for each task: their sizes do not compare."""
    columns = min(_COLUMNS, len(curve.tasks))
    rows = -(-len(curve.tasks) // columns)
    losses_PT = np.array(curve.losses, np.float64)
    with styled():
        figure = Figure(figsize=(WIDTH, 2.3 * rows), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, (axes, task) in enumerate(zip(panels, curve.tasks, strict=False)):
            _loss(axes, curve.steps, losses_PT[:, place], task_colour(place))
            axes.set(title=task, xlabel="training step")
        for axes in panels[len(curve.tasks) :]:
            axes.set_visible(False)
        return inline_svg(figure, "losses", f"Training loss of {', '.join(curve.tasks)} over the steps")


def _loss(axes: Axes, steps: Sequence[int], losses_P: NDArray[np.float64], colour: str) -> None:
    known_P = np.isfinite(losses_P)
    known_steps, losses = np.array(steps)[known_P], losses_P[known_P]
    if not len(losses):
        axes.annotate("no finite loss", (0.5, 0.5), xycoords="axes fraction", ha="center", color=MUTED)
        return
    axes.plot(known_steps, losses, color=colour, linewidth=0.8, alpha=0.35)
    axes.plot(known_steps, running_mean(losses, max(1, len(losses) // 20)), color=colour, linewidth=2.2)
    low, high = np.quantile(losses, (0.01, 0.99))  # a spike does not press the rest flat
    margin = 0.08 * (high - low or 1e-6)
    axes.set(ylim=(low - margin, high + margin))
    _step_axis(axes, steps)
    axes.yaxis.set_major_locator(MaxNLocator(4))


def progress_plot(curve: Curve, epochs: Sequence[Epoch], best: int) -> str:
    """Quality on the validation rows by epoch, and the tasks' weights over the steps, side by side."""
    with styled():
        figure = Figure(figsize=(WIDTH, 2.9), layout=ConstrainedLayoutEngine(w_pad=0.1))
        quality, weights = figure.subplots(1, 2)
        _quality(quality, epochs, best, curve.tasks)
        _weights(weights, curve)
        return inline_svg(figure, "progress", "Quality on the validation rows by epoch; weights of the tasks by step")


def _quality(axes: Axes, epochs: Sequence[Epoch], best: int, tasks: Sequence[str]) -> None:
    names = [name for name in epochs[-1].valid if name.endswith("/auc") and not name.startswith("fused.")]
    lines = {name.removesuffix("/auc"): [epoch.valid.get(name, np.nan) for epoch in epochs] for name in names}
    lines = lines or {"selection": [epoch.selection for epoch in epochs]}
    numbers, ends = [epoch.number for epoch in epochs], []
    for place, (output, values) in enumerate(lines.items()):
        colour = task_colour(tasks.index(output) if output in tasks else len(tasks) + place)
        axes.plot(numbers, values, color=colour, linewidth=2.2, marker="o", markersize=4)
        axes.plot([best], [values[best - 1]], "o", color=colour, markersize=10, markerfacecolor=PAPER)
        kept = values[best - 1]
        ends.append((values[-1], f"{output} {shown(kept if np.isfinite(kept) else None)}", colour))
    axes.axvline(best, color=MUTED, linewidth=1, linestyle=":")
    axes.margins(y=0.15)
    _end_labels(axes, ends)
    axes.set(title="AUC on valid" if names else "quality on valid", xlabel="epoch")
    axes.set_xlim(min(numbers) - 0.3, max(numbers) + 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _weights(axes: Axes, curve: Curve) -> None:
    weights_PT, ends = np.array(curve.weights), []
    for place, task in enumerate(curve.tasks):
        colour = task_colour(place)
        axes.plot(curve.steps, weights_PT[:, place], color=colour, linewidth=0.8, alpha=0.35)
        smooth_P = running_mean(weights_PT[:, place], max(1, len(curve.steps) // 20))
        axes.plot(curve.steps, smooth_P, color=colour, linewidth=2.2)
        ends.append((float(smooth_P[-1]), f"{task} {smooth_P[-1]:.2f}", colour))
    axes.set(title="weight of each task", ylim=(0, 1.1 * float(weights_PT.max()) or 1.0), xlabel="training step")
    _end_labels(axes, ends)
    _step_axis(axes, curve.steps)
    axes.yaxis.set_major_locator(MaxNLocator(5))


def _end_labels(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    low, high = axes.get_ylim()
    end_labels(axes, [end for end in ends if np.isfinite(end[0])], least_gap=0.1 * (high - low))
    axes.set_ylim(low, high)


def _step_axis(axes: Axes, steps: Sequence[int]) -> None:
    axes.set_xlim(steps[0], max(steps[-1], steps[0] + 1))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.0f}"))
