"""Is tonight's data fit to train on? One streamed pass, compared with the profiles of the nights before.

`profile` reads the impressions once and keeps what can be compared: counters, a random sample of rows boiled down to
histograms, and the values seen. `check` holds a profile against those of earlier nights and reports findings: an error
stops the nightly job, a warning goes into its report.

    >>> from training.data_check import Finding, DataCheckReport
    >>> finding = Finding(severity="error", check="missing_day", subject="time", message="no row is of 2026-01-02",
    ...                   value=0.0, limit=1.0)
    >>> report = DataCheckReport(date="2026-01-02", num_rows=70, findings=(finding,))
    >>> report.ok, len(report.errors), len(report.warnings)
    (False, 1, 0)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.data_check.checks import check
    from training.data_check.config import DataCheckConfig, Limits
    from training.data_check.data_profile import DataProfile
    from training.data_check.profiler import profile
    from training.data_check.psi import population_stability_index
    from training.data_check.report import DataCheckReport, Finding
    from training.data_check.table import findings_table

__all__ = [
    # measure
    "profile",
    "DataProfile",
    # judge
    "check",
    "DataCheckConfig",
    "Limits",
    "DataCheckReport",
    "Finding",
    "findings_table",
    # the statistic of drift, for figures from elsewhere
    "population_stability_index",
]

# Some need torch, which takes seconds to import: `ranker-train --help` need not wait for it.
_HOMES = {
    "check": "training.data_check.checks",
    "DataCheckConfig": "training.data_check.config",
    "Limits": "training.data_check.config",
    "DataProfile": "training.data_check.data_profile",
    "profile": "training.data_check.profiler",
    "population_stability_index": "training.data_check.psi",
    "DataCheckReport": "training.data_check.report",
    "Finding": "training.data_check.report",
    "findings_table": "training.data_check.table",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
