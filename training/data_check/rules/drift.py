"""Features whose values are not distributed as they were the night before."""

from __future__ import annotations

from collections.abc import Iterator

from training.data_check.data_profile import FeatureProfile
from training.data_check.histogram import NumericHistogram, ValueHistogram
from training.data_check.psi import drift
from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded


def drift_findings(evidence: Evidence) -> Iterator[Finding]:
    """Every feature that both nights have."""
    if evidence.latest is None:
        return
    config = evidence.config
    for name, now in evidence.profile.features.items():
        before = evidence.latest.features.get(name)
        if before is None:
            continue
        found = drift(before.histogram, now.histogram, config.num_bins, config.top_values, config.sigmas)
        if found is None or found.psi <= found.chance:
            continue
        text = (
            f"the values are not distributed as on {evidence.latest.date}: PSI {found.psi:.3f}, limit {{limit}}, by "
            f"chance up to {found.chance:.3f}; {_moved(before, now)}; look at what writes them, or raise the limit if "
            "they are meant to change like that"
        )
        if now.is_id:
            yield from graded("drift_ids", name, found.psi, config.drift_ids, text)
        else:
            yield from graded("drift", name, found.psi, config.drift, text)


def _moved(before: FeatureProfile, now: FeatureProfile) -> str:
    """What moved most, in words."""
    old, new = before.histogram, now.histogram
    if isinstance(old, NumericHistogram) and isinstance(new, NumericHistogram):
        return f"the median went from {_number(old.median)} to {_number(new.median)}"
    assert isinstance(old, ValueHistogram)  # of one kind, or there would be no drift to speak of
    assert isinstance(new, ValueHistogram)
    names = list(dict.fromkeys([*old.counts, *new.counts])) or [""]
    labels = [*(f"'{name}'" for name in names), "the other values", "missing ones", "empty lists"]
    shares = old.cells(names) / old.total, new.cells(names) / new.total
    most = int(abs(shares[1] - shares[0]).argmax())
    return f"{labels[most]} went from {shares[0][most]:.1%} to {shares[1][most]:.1%}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
