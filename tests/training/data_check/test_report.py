"""Reports are plain JSON, and tables say what is in them."""

from __future__ import annotations

import datetime as dt
import json

from rich.console import Console

from training.data_check import DataCheckReport, Finding, findings_table

ERROR = Finding(severity="error", check="drift", subject="price", message="moved [far]", value=2.5, limit=1.0)
WARNING = Finding(severity="warning", check="columns", subject="city", message="is new", value=1.0, limit=0.0)
REPORT = DataCheckReport(
    date=dt.date(2026, 1, 2), num_rows=7_000, compared_with=(dt.date(2026, 1, 1),), findings=(ERROR, WARNING)
)


def shown(report: DataCheckReport) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(findings_table(report))
    return capture.get()


def test_comes_back_from_json() -> None:
    content = json.loads(json.dumps(REPORT.to_dict(), allow_nan=False))
    assert content["findings"][0]["value"] == 2.5
    assert DataCheckReport.model_validate(content) == REPORT


def test_errors_and_warnings() -> None:
    assert REPORT.errors == (ERROR,)
    assert REPORT.warnings == (WARNING,)
    assert not REPORT.ok
    assert DataCheckReport(date=REPORT.date, num_rows=3, findings=(WARNING,)).ok


def test_the_table_has_every_finding() -> None:
    text = shown(REPORT)
    for word in ("2026-01-02", "7,000 rows", "1 earlier", "error", "price", "moved [far]", "warning", "columns"):
        assert word in text
    assert "nothing to report" in shown(DataCheckReport(date=REPORT.date, num_rows=3))
