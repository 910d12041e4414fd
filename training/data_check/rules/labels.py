"""Labels: whether there is anything to learn, and whether as much happened as on earlier nights."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from training.data_check.data_profile import Rate, TaskProfile
from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded, switched, typical_rate


def label_findings(evidence: Evidence) -> Iterator[Finding]:
    """Every task, in its sample space."""
    if not evidence.profile.num_rows:
        return
    for name, task in evidence.profile.tasks.items():
        if task.mean is None or task.std == 0:
            yield from _constant(evidence, name, task)
            continue
        before = [reference.tasks[name] for reference in evidence.references if name in reference.tasks]
        known = [(other, other.mean) for other in before if other.mean is not None and other.kind == task.kind]
        if known and evidence.beyond_chance(task.mean, [mean for _, mean in known]):
            means = [mean for _, mean in known]
            if task.kind == "binary":
                yield from _rate(evidence, name, task.mean, means)
            else:
                yield from _mean(evidence, name, task.mean, means, median(other.std for other, _ in known))


def _constant(evidence: Evidence, name: str, task: TaskProfile) -> Iterator[Finding]:
    found = f"all {task.num_rows:,} labels are {task.mean.value:g}" if task.mean else "no row has a label"
    text = (
        f"{found} in the sample space of the task (column '{task.column}'), expected at least two different ones; "
        "wait until the outcomes are written, or remove the task"
    )
    yield from switched("constant_label", name, evidence.config.constant_label, text, task.std)


def _rate(evidence: Evidence, name: str, rate: Rate, others: list[Rate]) -> Iterator[Finding]:
    usual = typical_rate(others).value
    low, high = sorted((rate.value, usual))
    if low == 0:  # the usual night had no positive at all: any is news, but no error
        return
    text = (
        f"the label's rate is {rate.value:.4g}, {usual:.4g} is usual (median of {len(others)}), limit a factor of "
        "{limit}; look for outcomes that are late, lost or counted twice"
    )
    yield from graded("label_rate", name, high / low, evidence.config.label_rate, text)


def _mean(evidence: Evidence, name: str, mean: Rate, others: list[Rate], std: float) -> Iterator[Finding]:
    usual = typical_rate(others).value
    if std == 0:
        return
    text = (
        f"the label's mean is {mean.value:.4g}, {usual:.4g} is usual (median of {len(others)}), limit {{limit}} times "
        f"the standard deviation of {std:.4g}; look for another unit or currency, and for outliers"
    )
    yield from graded("label_mean", name, abs(mean.value - usual) / std, evidence.config.label_mean, text)
