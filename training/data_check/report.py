"""What the check found: errors, which stop the nightly job, and warnings, which people read."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pydantic import FiniteFloat

from ranker.schema import FrozenConfig
from training.data_check.config import CheckName, Severity


class Finding(FrozenConfig):
    """Something that is not as it should be.

    Attributes:
        severity: `error` stops the nightly job.
        check: The check's name, as in the config.
        subject: The feature, task or column that it is about; `rows` or `time` for all.
        message: What was found, what was expected, and the fix.
        value: The figure.
        limit: That it is beyond.
    """

    severity: Severity
    check: CheckName
    subject: str
    message: str
    value: FiniteFloat
    limit: FiniteFloat


class DataCheckReport(FrozenConfig):
    """All findings on one night's data, errors first.

    Attributes:
        date: The day that was asked for.
        num_rows: Rows profiled.
        compared_with: Dates of the profiles it was compared with, the latest last; none on the first night.
    """

    date: dt.date
    num_rows: int
    compared_with: tuple[dt.date, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that stop the nightly job."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that do not."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not self.errors

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON; `DataCheckReport.model_validate` reads it back."""
        return self.model_dump(mode="json")
