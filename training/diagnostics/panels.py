"""The sections of the page: a question, its answer as a plot, how to read it, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from training.diagnostics.diagnosis import Diagnosis, Section
from training.diagnostics.findings import Finding
from training.diagnostics.heat_maps import affinity_plot, covariance_plot, gate_plot
from training.diagnostics.outcome import CONFIDENCE
from training.diagnostics.plots import capacity_plot, gradient_plot, loss_plot, verdict_plot
from training.page.wording import percent, plural

ROWS = {"train": "training", "valid": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One section.

    Attributes:
        name: Of the section.
        question: Its title.
        lead: What was done, in one sentence.
        plot: An SVG element; None where there is nothing to draw.
        caption: How to read the plot.
        findings: What it says.
        small: Whether the plot is narrower than the page.
    """

    name: Section
    question: str
    lead: str
    plot: str | None
    caption: str
    findings: tuple[Finding, ...]
    small: bool = False


def panels(diagnosis: Diagnosis) -> Iterator[Panel]:
    """The sections that were asked for, in reading order."""
    for panel in (_verdict, _affinity, _gradients, _losses, _covariance, _capacity, _gates):
        yield from panel(diagnosis)


def _verdict(diagnosis: Diagnosis) -> Iterator[Panel]:
    if (verdict := diagnosis.verdict) is None:
        return
    dims = ", ".join(f"{task} {'×'.join(map(str, d)) or 'none'}" for task, d in diagnosis.setup.single_dims.items())
    yield Panel(
        name="verdict",
        question="What does sharing do to each task?",
        lead=f"The multi-task model against each task alone, over {plural(len(diagnosis.setup.seeds), 'seed')}.",
        plot=verdict_plot(verdict),
        caption=f"Dots: one seed each; diamond: their mean; bar: its {percent(CONFIDENCE)} interval (Student's t of "
        "the differences, paired by seed). A bar that leaves 0 is a difference beyond the noise of the seeds. Alone "
        "means own embedding tables, own early stopping, and about as many dense parameters as the multi-task network "
        f"uses for the task (hidden widths: {dims}). “Other rows ±” is two standard errors of the mean difference if "
        "as many independent rows were drawn anew.",
        findings=diagnosis.remarks("verdict"),
    )


def _affinity(diagnosis: Diagnosis) -> Iterator[Panel]:
    found, remarks = diagnosis.affinity, diagnosis.remarks("affinity")
    if found is None and not remarks:
        return
    yield Panel(
        name="affinity",
        question="Does training one task help another?",
        lead="Before some steps of a run, a step for one task alone is tried, and taken back.",
        plot=affinity_plot(found) if found is not None else None,
        caption="Each cell: by how many ‰ the column's loss on validation rows falls when what is shared moves one "
        "step for the row's task; mean over the measurements, which are spread over training. Blue helps, orange "
        "hurts. Small print: the part of what the task's own step achieves. Tasks that do not help each other gain "
        "little from sharing (inter-task affinity, Fifty et al. 2021).",
        findings=remarks,
        small=True,
    )


def _gradients(diagnosis: Diagnosis) -> Iterator[Panel]:
    if diagnosis.gradients is None:
        return
    yield Panel(
        name="gradients",
        question="Do the tasks pull the same way?",
        lead="Cosine between the tasks' gradients of everything that they share, embedding tables included.",
        plot=gradient_plot(diagnosis.gradients),
        caption="Dots: one batch each; line: running mean. Above 0 a step for one task also helps the other; below 0 "
        "they conflict. Balancing methods that project gradients have something to do only where there is conflict.",
        findings=diagnosis.remarks("gradients"),
    )


def _losses(diagnosis: Diagnosis) -> Iterator[Panel]:
    if diagnosis.losses is None:
        return
    yield Panel(
        name="losses",
        question="Who makes up the sum?",
        lead="The share of each task in what is minimised, over training time.",
        plot=loss_plot(diagnosis.losses),
        caption="Left: losses as they are; middle: times the weights of the balance; right: norms of the gradients of "
        "what is shared, times the weights. A task with a sliver on the right hardly moves the shared parameters, "
        "whatever its loss is.",
        findings=diagnosis.remarks("losses"),
    )


def _covariance(diagnosis: Diagnosis) -> Iterator[Panel]:
    if diagnosis.covariance is None:
        return
    yield Panel(
        name="covariance",
        question="Do the tasks' inputs vary alike?",
        lead="Covariance similarity of the labelled rows of each task, as the trained tables represent them.",
        plot=covariance_plot(diagnosis.covariance),
        caption="1: the inputs vary in the same directions; low: a shared layer has to serve different inputs, and an "
        "alignment per task can help (Wu, Zhang, Ré 2020). It says nothing about tasks that have the same rows and "
        "features.",
        findings=diagnosis.remarks("covariance"),
        small=True,
    )


def _capacity(diagnosis: Diagnosis) -> Iterator[Panel]:
    if diagnosis.capacity is None:
        return
    yield Panel(
        name="capacity",
        question="How wide should the shared part be?",
        lead="A bottom layer that all tasks share, equally weighted, against each task alone on a layer of that width.",
        plot=capacity_plot(diagnosis.capacity),
        caption="Ring: the best width of each curve. A shared layer as wide as all single-task layers together need "
        "not share anything; one much narrower forces tasks together. Look for the width at which the solid line comes "
        "closest to, or passes, the best of the dashed one.",
        findings=diagnosis.remarks("capacity"),
    )


def _gates(diagnosis: Diagnosis) -> Iterator[Panel]:
    if (gates := diagnosis.gates) is None:
        return
    mean = f"Mean gate weight of every expert over the {ROWS[diagnosis.setup.split]} rows."
    yield Panel(
        name="gates",
        question="Which experts does each task use?",
        lead=mean if gates.reason is None else f"Nothing to show: {gates.reason}.",
        plot=gate_plot(gates) if gates.gates else None,
        caption="Rows: a task's gate, with the number of experts that a row effectively uses (exp of the entropy). "
        "Rows that look alike mean that the tasks share one mixture; an empty column is an expert nobody uses.",
        findings=diagnosis.remarks("gates"),
    )
