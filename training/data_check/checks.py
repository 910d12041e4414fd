"""A night's profile against the limits and against earlier nights: a report, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence

from ranker.encoding import Encoder
from training.data_check.config import DataCheckConfig
from training.data_check.data_profile import DataProfile
from training.data_check.report import DataCheckReport, Finding
from training.data_check.rules.columns import column_findings
from training.data_check.rules.drift import drift_findings
from training.data_check.rules.duplicates import duplicate_findings
from training.data_check.rules.evidence import Evidence
from training.data_check.rules.labels import label_findings
from training.data_check.rules.leakage import leakage_findings
from training.data_check.rules.new_values import new_value_findings
from training.data_check.rules.nulls import null_findings
from training.data_check.rules.rows import row_findings
from training.data_check.rules.times import time_findings

RULES: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    row_findings,
    column_findings,
    time_findings,
    null_findings,
    label_findings,
    duplicate_findings,
    leakage_findings,
    drift_findings,
    new_value_findings,
)


def check(
    profile: DataProfile,
    references: Sequence[DataProfile],
    config: DataCheckConfig,
    date: dt.date,
    encoder: Encoder | None = None,
    champion_auc: Mapping[str, float] | None = None,
) -> DataCheckReport:
    """Everything that is not as it should be.

    Reads and writes nothing, and gives the same report for the same arguments.

    Args:
        profile: Of the night.
        references: Of earlier nights whose data was good, in any order; those from `date` on are left out. None on the
            first night: what needs a comparison is then not checked.
        config: Limits.
        date: The day asked for.
        encoder: Of the live model: tells which values are new to it.
        champion_auc: AUC of the live model by task: no feature alone should reach it.
    """
    earlier = sorted((one for one in references if one.date < date), key=lambda one: one.date)
    evidence = Evidence(profile, earlier[-config.history :], config, date, encoder, champion_auc or {})
    found = [finding for rule in RULES for finding in rule(evidence)]
    kept = [finding for finding in found if finding.subject not in config.exempt.get(finding.check, ())]
    return DataCheckReport(
        date=date,
        num_rows=profile.num_rows,
        compared_with=tuple(one.date for one in evidence.references),
        findings=tuple(sorted(kept, key=lambda finding: finding.severity == "warning")),
    )
