"""The plots of a report, one function per section; each returns an SVG element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from training.diagnostics.capacity import CapacityCurve, CapacitySweep
from training.diagnostics.findings import describe
from training.diagnostics.gradients import GradientAgreement
from training.diagnostics.loss_share import LossShare
from training.diagnostics.outcome import TaskDifference, Verdict
from training.page.lines import end_labels, running_mean
from training.page.theme import HELPS, HURTS, INK, MUTED, PAPER, TASKS, WIDTH, inline_svg, styled, task_colour
from training.page.wording import decimals, percent, signed


def verdict_plot(verdict: Verdict) -> str:
    """Each task's difference with its interval, one axis per metric."""
    metrics = list(dict.fromkeys(task.metric for task in verdict.tasks))
    groups = [[task for task in verdict.tasks if task.metric == metric] for metric in metrics]
    with styled():
        figure = Figure(figsize=(WIDTH, 0.75 * len(verdict.tasks) + 0.75 * len(metrics)), layout="constrained")
        rows = figure.subplots(len(groups), 1, squeeze=False, height_ratios=[len(group) for group in groups])
        for axes, metric, group in zip(rows[:, 0], metrics, groups, strict=True):
            _forest(axes, metric, group)
        words = "; ".join(describe(task) for task in verdict.tasks)
        return inline_svg(figure, "verdict", words)


def _forest(axes: Axes, metric: str, tasks: Sequence[TaskDifference]) -> None:
    reach = 1.15 * max(abs(value) for task in tasks for value in (*task.interval, *_differences(task), 1e-6))
    axes.axvline(0, color=INK, linewidth=1)
    for row, task in enumerate(tasks):
        colour = {"up": HELPS, "down": HURTS, "flat": MUTED}[task.direction]
        axes.plot(task.interval, (row, row), color=colour, linewidth=7, alpha=0.35)
        axes.plot(_differences(task), [row] * len(task.multi), "o", color=colour, markersize=4, alpha=0.75)
        axes.plot([task.difference], [row], "D", color=colour, markersize=8, markeredgecolor=PAPER)
        word = {"up": "gains", "down": "loses", "flat": "no certain difference"}[task.direction]
        figures = f"{signed(task.difference, decimals(task.margin))} ± {task.margin:.{decimals(task.margin)}f}"
        axes.annotate(f"{word}\n{figures}", (1.02, row), xycoords=("axes fraction", "data"), va="center", color=colour)
    axes.set(xlim=(-reach, reach), ylim=(len(tasks) - 0.5, -0.5))
    axes.set_yticks(range(len(tasks)), [task.task for task in tasks], color=INK, fontsize=10.5)
    axes.xaxis.set_major_locator(MaxNLocator(7, symmetric=True))
    digits = 1 + int(np.ceil(max(0.0, -np.log10(reach))))  # two that count
    axes.xaxis.set_major_formatter(lambda value, _place: signed(value, digits))
    axes.set_xlabel(f"difference in {metric}")
    for side, text in ((0.0, "← alone is better"), (1.0, "multi-task is better →")):
        below = axes.annotate(text, (side, 0), (0, -23), xycoords="axes fraction", textcoords="offset points")
        below.set(ha="left" if side == 0 else "right", va="center", color=MUTED)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _differences(task: TaskDifference) -> list[float]:
    return [multi - single for multi, single in zip(task.multi, task.single, strict=True)]


def gradient_plot(found: GradientAgreement) -> str:
    """Cosine of every pair of tasks over training steps."""
    with styled():
        figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
        axes = figure.subplots()
        axes.axhspan(-1.1, 0, color=HURTS, alpha=0.07, linewidth=0)
        axes.axhline(0, color=INK, linewidth=1)
        ends, reach = [], 0.25
        for place, pair in enumerate(found.pairs):
            known = [
                (step, cosine) for step, cosine in zip(found.steps, pair.cosines, strict=True) if cosine is not None
            ]
            if not known:
                continue
            steps, cosines = np.array([s for s, _ in known]), np.array([c for _, c in known])
            colour = task_colour(place)
            axes.plot(steps, cosines, "o", color=colour, markersize=3, alpha=0.35, markeredgewidth=0)
            smooth = running_mean(cosines, max(1, len(cosines) // 8))
            axes.plot(steps, smooth, color=colour, linewidth=2.2)
            rate = percent(float((cosines < 0).mean()))
            ends.append((float(smooth[-1]), f"{pair.tasks[0]} – {pair.tasks[1]}\n{rate} below 0", colour))
            reach = max(reach, 1.1 * float(np.abs(cosines).max()))
        end_labels(axes, ends, least_gap=0.26 * reach)
        axes.set(ylim=(-reach, reach), xlim=(found.steps[0], max(found.steps[-1], found.steps[0] + 1)))
        axes.set(xlabel="training step", ylabel="cosine of the gradients")
        axes.annotate("conflict", (0.01, 0.03), xycoords="axes fraction", color=MUTED, va="bottom")
        return inline_svg(figure, "gradients", "Cosine of the tasks' gradients over training")


def loss_plot(found: LossShare) -> str:
    """Shares of the tasks over training: loss, weighted loss, weighted gradient."""
    panels = (
        ("loss", found.steps, found.loss_share),
        ("loss × weight", found.steps, found.weighted_share),
        ("gradient × weight", found.gradient_steps, found.gradient_share),
    )
    with styled():
        figure = Figure(figsize=(WIDTH, 2.7), layout="constrained")
        for axes, (title, steps, shares) in zip(figure.subplots(1, 3, sharey=True), panels, strict=True):
            _stack(axes, found.tasks, steps, np.array(shares))
            axes.set(title=f"share of the {title}", xlabel="training step")
        return inline_svg(
            figure, "losses", "Share of each task in the loss, the weighted loss and the weighted gradient"
        )


def _stack(axes: Axes, tasks: Sequence[str], steps: Sequence[int], shares_PT: NDArray[np.float64]) -> None:
    colours = [task_colour(place) for place in range(len(tasks))]
    axes.stackplot(steps, shares_PT.T, colors=colours, alpha=0.55, linewidth=0)
    axes.set(ylim=(0, 1), xlim=(steps[0], max(steps[-1], steps[0] + 1)))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(visible=False)
    means_T = shares_PT.mean(axis=0)
    middles_T = np.cumsum(means_T) - means_T / 2
    for task, mean, middle in zip(tasks, means_T, middles_T, strict=True):
        if mean >= 0.07:
            axes.annotate(
                f"{task} {percent(mean)}", (0.5, middle), xycoords=("axes fraction", "data"), ha="center", va="center"
            )


def capacity_plot(found: CapacitySweep) -> str:
    """Quality by width, one panel per task: a shared bottom, and the task alone."""
    count = len(found.tasks)
    columns = min(3, count)
    rows = -(-count // columns)
    with styled():
        figure = Figure(figsize=(WIDTH, 2.9 * rows), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, curve in zip(panels, found.tasks, strict=False):
            _capacity_panel(axes, found.widths, curve)
        for axes in panels[count:]:
            axes.set_visible(False)
        return inline_svg(figure, "capacity", "Quality of each task by width of the bottom network")


def _capacity_panel(axes: Axes, widths: Sequence[int], curve: CapacityCurve) -> None:
    places = np.arange(len(widths))
    ends = []
    for label, values, colour, style in (
        ("shared", curve.shared, TASKS[0], "-"),
        ("alone", curve.single, TASKS[1], "--"),
    ):
        means = np.array([np.mean(at_width) for at_width in values])
        axes.plot(places, means, style, color=colour, linewidth=2.2, marker="o", markersize=5)
        for place, at_width in zip(places, values, strict=True):
            if len(at_width) > 1:
                axes.plot([place] * len(at_width), at_width, "o", color=colour, markersize=3, alpha=0.4)
        best = int(np.argmax(means))
        axes.plot([best], [means[best]], "o", color=colour, markersize=10, markerfacecolor="none", markeredgewidth=1.5)
        ends.append((float(means[-1]), label, colour))
    low, high = axes.get_ylim()
    end_labels(axes, ends, least_gap=0.09 * (high - low))
    axes.set_xticks(places, [str(width) for width in widths])
    axes.set(title=curve.task, xlabel="width of the bottom layer", ylabel=curve.metric, xlim=(-0.2, len(widths) - 0.8))
    axes.yaxis.set_major_locator(MaxNLocator(5))
