"""Impressions that are there more than once."""

from __future__ import annotations

from collections.abc import Iterator

from training.data_check.report import Finding
from training.data_check.rules.evidence import Evidence, graded


def duplicate_findings(evidence: Evidence) -> Iterator[Finding]:
    """Rows that agree in all ids with another; nothing where the schema names too few."""
    found = evidence.profile.duplicates
    if found is None:
        return
    counted = "" if found.exact else f"; estimated, from the {found.num_rows:,} rows whose ids hash lowest"
    text = (
        f"{found.share:.3%} of rows repeat another with the same {', '.join(found.columns)}, limit {{limit}} of all"
        f"{counted}; write every impression once"
    )
    yield from graded("duplicates", "rows", found.share, evidence.config.duplicates, text)
