"""What the figures say in words: one headline, and a remark wherever a figure asks for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from training.diagnostics.affinity import Affinity
from training.diagnostics.capacity import CapacitySweep
from training.diagnostics.covariance import CovarianceSimilarity
from training.diagnostics.gates import GateReport
from training.diagnostics.gradients import GradientAgreement
from training.diagnostics.loss_share import LossShare
from training.diagnostics.outcome import TaskDifference, Verdict
from training.page.wording import decimals, listed, percent, plural, signed

# What counts as much. They only choose words; the figures are always shown.
DOMINANT = 0.8  # share of one task in the gradient
DIFFERENT_INPUTS = 0.8  # normalised covariance similarity
SAME_GATES = 0.1  # total variation between two gates' mean weights
PICKING = 1.5  # experts that a row effectively uses
OTHER_PACE = 1.5  # ratio of best epochs
FEW_SEEDS = 5
FEW_POSITIVES = 200

Level = Literal["good", "note", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A remark.

    Attributes:
        section: What it is about.
        level: `warning`: the reader should do something, or trust less.
        text: One or two sentences.
    """

    section: str
    level: Level
    text: str


def verdict_findings(verdict: Verdict) -> Iterator[Finding]:
    """On the comparison with single tasks."""
    count = len(verdict.tasks[0].single)
    if count < FEW_SEEDS:
        least = listed([f"{_number(task.margin)} {task.metric} for {task.task}" for task in verdict.tasks])
        text = f"Only {plural(count, 'seed')}: differences below {least} cannot be told from none."
        yield Finding("verdict", "warning", f"{text} Run with --seeds {FEW_SEEDS} or more.")
    for task in verdict.tasks:
        if task.num_positives is not None and task.num_positives < FEW_POSITIVES:
            text = f"{task.task} is judged on {plural(task.num_positives, 'positive')} only; its figures are rough."
            yield Finding("verdict", "warning", text)
        if task.direction != "flat" and not task.beyond_rows:
            yield Finding(
                "verdict",
                "warning",
                f"The difference of {task.task} is more than the noise of the seeds, but less than two standard errors "
                f"({_number(2 * task.rows_error)}) of drawing other rows: another log of this size may show none.",
            )


def pace_findings(
    multi_epochs: Sequence[int], single_epochs: Mapping[str, Sequence[int]], num_epochs: int
) -> Iterator[Finding]:
    """On how long each is best trained: best epochs by seed, and how many epochs there were at most."""
    together = float(np.mean(multi_epochs))
    alone = {task: float(np.mean(epochs)) for task, epochs in single_epochs.items()}
    figures = f"{together:.1f} together; alone {listed([f'{epochs:.1f} for {task}' for task, epochs in alone.items()])}"
    text = f"Mean best epoch: {figures}."
    if apart := [task for task, epochs in alone.items() if max(epochs / together, together / epochs) >= OTHER_PACE]:
        text += f" One early stop has to serve all, and is far from what is best for {listed(apart)}."
    yield Finding("verdict", "warning" if apart else "note", text)
    runs = [*multi_epochs, *(epoch for epochs in single_epochs.values() for epoch in epochs)]
    if num_epochs > 1 and (cut := sum(epoch == num_epochs for epoch in runs)):
        text = f"{cut} of {plural(len(runs), 'run')} were best in the last of {num_epochs} epochs, and may not be done."
        yield Finding("verdict", "warning", f"{text} Train longer (training.epochs) before trusting small differences.")


def affinity_findings(found: Affinity | None) -> Iterator[Finding]:
    """On what a step for one task does to another; None where it could not be measured."""
    if found is None:
        text = "Not measured: some task is too rare to have labels in a batch; a larger training.batch_size helps."
        yield Finding("affinity", "warning", text)
        return
    size = len(found.tasks)
    for i, j in ((i, j) for i in range(size) for j in range(size) if i != j):
        source, target, change = found.tasks[i], found.tasks[j], 1000 * found.mean[i][j]
        if not found.certain(i, j):
            figures = f"{signed(change, 2)} ± {2000 * found.error[i][j]:.2f} ‰"
            text = f"A step for {source} has no certain effect on the loss of {target} ({figures})."
            yield Finding("affinity", "note", text)
        elif change < 0:
            text = f"A step for {source} raises the loss of {target} by {-change:.2f} ‰ on average: it hurts."
            yield Finding("affinity", "warning", text)
        else:
            own = found.share[i][j]
            much = "" if own is None else f", {percent(own)} of what {target}'s own step brings"
            yield Finding(
                "affinity", "good", f"A step for {source} lowers the loss of {target} by {change:.2f} ‰{much}."
            )


def gradient_findings(found: GradientAgreement) -> Iterator[Finding]:
    """On cosines and conflicts."""
    for pair in found.pairs:
        names, figures = listed(pair.tasks), pair.figures
        match pair.relation:
            case "unknown":
                yield Finding("gradients", "warning", f"{names} never had gradients in the same batch.")
            case "apart":
                text = f"{names} pull apart: {figures}. Methods such as pcgrad or upgrad take the conflict out."
                yield Finding("gradients", "warning", text)
            case "orthogonal":
                text = f"{names} are nearly orthogonal: {figures}. Neither helps nor hurts the other directly."
                yield Finding("gradients", "note", text)
            case "mixed":
                text = f"{names} pull the same way on average, but often apart: {figures}."
                yield Finding("gradients", "note", text)
            case "together":
                yield Finding("gradients", "good", f"{names} mostly pull the same way: {figures}.")


def loss_findings(found: LossShare) -> Iterator[Finding]:
    """On who dominates the sum."""
    gradient, loss = found.mean_gradient_share(), found.mean_share()
    task = max(gradient, key=lambda name: gradient[name])
    figures = f"{percent(gradient[task])} of the gradient and {percent(loss[task])} of the loss, weights included"
    if gradient[task] >= DOMINANT:
        text = f"{task} makes up {figures}: the others hardly move what is shared. Raise their weights."
        yield Finding("losses", "warning", text)
    else:
        yield Finding("losses", "note", f"The largest part is {task}'s: {figures}.")


def covariance_findings(found: CovarianceSimilarity) -> Iterator[Finding]:
    """On whether the inputs differ."""
    for i, j in combinations(range(len(found.tasks)), 2):
        pair = listed((found.tasks[i], found.tasks[j]))
        if not found.informative[i][j]:
            text = f"{pair} read the same rows with the same features: the score says nothing about them."
            yield Finding("covariance", "note", text)
        elif found.normalised[i][j] < DIFFERENT_INPUTS:
            text = f"The inputs of {pair} vary in different directions ({found.normalised[i][j]:.2f})."
            yield Finding("covariance", "warning", f"{text} Try model.align_tasks: true.")
        else:
            text = f"The inputs of {pair} vary alike ({found.normalised[i][j]:.2f}); nothing to align."
            yield Finding("covariance", "good", text)


def capacity_findings(found: CapacitySweep) -> Iterator[Finding]:
    """On the best widths."""
    alone = [(task.task, task.best(found.widths, shared=False)) for task in found.tasks]
    widths = listed([f"{width} for {task}" for task, width in alone])
    text = (
        f"The best shared width is {found.best_shared()}; alone the best are {widths}, {found.single_sum():,} together."
    )
    yield Finding("capacity", "note", text)
    if found.best_shared() == found.widths[-1]:
        text = "The best shared width is the widest tried: it may be wider still. Add one with --widths."
        yield Finding("capacity", "warning", text)
    if found.num_seeds == 1:
        text = "One seed per point: read the shape of the curves, not small differences. More with --sweep-seeds."
        yield Finding("capacity", "note", text)


def gate_findings(found: GateReport) -> Iterator[Finding]:
    """On experts and who uses them."""
    if unused := found.unused_by_all():
        yield Finding(
            "gates", "warning", f"No gate uses {listed(unused)}: fewer experts would do, or gate_dropout helps."
        )
    for gate in found.gates:
        if gate.per_row < PICKING < len(gate.experts):
            figures = f"{gate.per_row:.1f} of {len(gate.experts)} experts a row"
            yield Finding("gates", "note", f"The gate of {gate.gate} picks rather than mixes: {figures}.")
    for one, other in combinations(found.gates, 2):
        if one.experts == other.experts and "own 1" not in one.experts:
            distance = float(np.abs(np.subtract(one.mean, other.mean)).sum() / 2)
            if distance < SAME_GATES:
                text = f"The gates of {one.gate} and {other.gate} hardly differ ({percent(distance)} of the weight)"
                yield Finding("gates", "note", f"{text}: to these tasks the mixture is one shared network.")


def describe(task: TaskDifference) -> str:
    """One task's difference in words.

    Example:
        >>> from training.diagnostics.outcome import compare_task
        >>> describe(compare_task("ctr", "AUC", (0.70, 0.71), (0.72, 0.7301), 0.001, 900))
        'ctr gains 0.0201 AUC (± 0.0006)'
    """
    margin = f"± {_number(task.margin)}"
    if task.direction == "flat":
        return f"{task.task} shows no certain difference ({_signed(task)} {task.metric} {margin})"
    verb = "gains" if task.direction == "up" else "loses"
    return f"{task.task} {verb} {_number(abs(task.difference), task.margin)} {task.metric} ({margin})"


def _number(value: float, margin: float | None = None) -> str:
    return f"{value:.{decimals(value if margin is None else margin)}f}"


def _signed(task: TaskDifference) -> str:
    return signed(task.difference, decimals(task.margin))
