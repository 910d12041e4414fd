"""The findings as a table for a terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from training.data_check.report import DataCheckReport

_STYLES = {"error": "bold red", "warning": "yellow"}


def findings_table(report: DataCheckReport) -> Table:
    """One row a finding; a table without rows says in its caption that all is well."""
    against = f", compared with {len(report.compared_with)} earlier" if report.compared_with else ""
    table = Table(title=f"data of {report.date}: {report.num_rows:,} rows{against}", title_justify="left")
    for name in ("severity", "check", "subject", "what"):
        table.add_column(name, overflow="fold", no_wrap=name != "what")
    for finding in report.findings:
        severity = Text(finding.severity, style=_STYLES[finding.severity])
        table.add_row(severity, finding.check, Text(finding.subject), Text(finding.message))
    if not report.findings:
        table.caption = "nothing to report"
    return table
