"""Rows without a value, by themselves and against earlier nights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from training.data_check.data_profile import DataProfile, Rate
from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded, typical_rate


def null_findings(evidence: Evidence) -> Iterator[Finding]:
    """Features and labels that are null too often, or much more or less often than they were."""
    config = evidence.config
    for name, feature in evidence.profile.features.items():
        text = (
            f"{feature.null_rate.value:.1%} of rows have no value in column '{feature.column}', limit {{limit}}; "
            "fill it, or remove the feature from the schema"
        )
        yield from graded("null_rate", name, feature.null_rate.value, config.null_rate, text)
    earlier = [null_rates(reference) for reference in evidence.references]
    for name, rate in null_rates(evidence.profile).items():
        if others := [rates[name] for rates in earlier if name in rates]:
            yield from _jump(evidence, name, rate, others)


def null_rates(profile: DataProfile) -> Mapping[str, Rate]:
    """Null rates by feature, and by label column."""
    features = {name: feature.null_rate for name, feature in profile.features.items()}
    return {**features, **{task.column: task.null_rate for task in profile.tasks.values()}}


def _jump(evidence: Evidence, name: str, rate: Rate, others: list[Rate]) -> Iterator[Finding]:
    if not evidence.profile.num_rows or not evidence.beyond_chance(rate, others):
        return
    usual = typical_rate(others).value
    text = (
        f"{rate.value:.1%} of rows have no value, {usual:.1%} are usual (median of {len(others)}), limit {{limit}} "
        "apart; look for what stopped, or began, to write it"
    )
    yield from graded("null_rate_jump", name, abs(rate.value - usual), evidence.config.null_rate_jump, text)
