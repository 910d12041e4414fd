"""Categorical values that the live model, or the night before, never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from training.data_check.data_profile import FeatureProfile
from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded
from training.data_check.seen_values import SeenValues


def new_value_findings(evidence: Evidence) -> Iterator[Finding]:
    """The share of values that are new: to the live model's vocabulary where there is one, else to the night before."""
    for name, feature in evidence.profile.features.items():
        if feature.seen is None:
            continue
        share, whom = _share(evidence, name, feature, feature.seen)
        if share is None:
            continue
        text = (
            f"{share:.1%} of values are unknown to {whom}, limit {{limit}}; expected of items that come and go, "
            "else look for another spelling or another source of the ids"
        )
        yield from graded("new_values", name, share, evidence.config.new_values, text)


def _share(evidence: Evidence, name: str, feature: FeatureProfile, seen: SeenValues) -> tuple[float | None, str]:
    encoder = evidence.encoder
    if encoder is not None and feature.table in encoder.vocabularies:
        vocabulary = encoder.vocabularies[feature.table]

        def unknown(values: list[str]) -> list[bool]:
            new: list[bool] = (~vocabulary.knows(np.array(values, dtype=object))).tolist()
            return new

        return share_of_new(seen.counts, unknown), "the live model"
    before = evidence.latest.features.get(name) if evidence.latest is not None else None
    if before is None or before.seen is None or evidence.latest is None:
        return None, ""
    known = before.seen.counts
    counts = seen.below(before.seen.fraction)
    return share_of_new(counts, lambda values: [value not in known for value in values]), f"{evidence.latest.date}"


def share_of_new(counts: Mapping[str, int], unknown: Callable[[list[str]], list[bool]]) -> float | None:
    """Share of rows whose value is unknown.

    Args:
        counts: Rows by value: of all values, or of those whose hash is small, which is a fair sample of the values.
        unknown: Says of each value whether it is.

    Returns:
        In [0, 1]; None where there are no values.

    Example:
        >>> share_of_new({"a": 3, "b": 1}, lambda values: [value == "b" for value in values])
        0.25
    """
    if not (total := sum(counts.values())):
        return None
    fresh = unknown(list(counts))
    return sum(count for count, new in zip(counts.values(), fresh, strict=True) if new) / total
