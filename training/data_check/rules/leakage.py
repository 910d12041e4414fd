"""Features that give a label away."""

from __future__ import annotations

from collections.abc import Iterator

from training.data_check.leakage import SingleFeatureAuc
from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded, switched


def leakage_findings(evidence: Evidence) -> Iterator[Finding]:
    """One finding at most for a feature and a task: by its values, or only by its being there."""
    config, found = evidence.config, {}
    for single in sorted(evidence.profile.leakage, key=lambda one: _certain(evidence, one)):
        found[single.feature, single.task] = single  # the better of the two is the later
    for (feature, task), single in found.items():
        certain = _certain(evidence, single)
        findings = list(graded("leakage", feature, certain, config.leakage, _message(single)))
        yield from findings
        champion = evidence.champion_auc.get(task)
        if champion is None or findings:
            continue
        limit = 0.5 + config.champion_share * (champion - 0.5)
        if certain > limit:
            text = (
                f"the feature alone ranks {task} with an AUC of {single.auc:.4f}, the live model with {champion:.4f}; "
                "either it knows the outcome, or the model is missing something"
            )
            yield from switched("leakage_champion", feature, config.leakage_champion, text, certain, limit)


def _certain(evidence: Evidence, single: SingleFeatureAuc) -> float:
    """The AUC less what chance may have added."""
    return max(0.0, single.auc - evidence.config.sigmas * single.standard_error)


def _message(single: SingleFeatureAuc) -> str:
    how = "alone" if single.by == "value" else "by being there or not"
    return (
        f"the feature {how} predicts {single.task} with an AUC of {single.auc:.4f}, on {single.num_rows:,} held-out "
        f"rows of which {single.num_positives:,} are positive, limit {{limit}}; it probably knows the outcome: "
        "take its value from before the impression, or remove it"
    )
