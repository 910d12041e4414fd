"""A diagnosis as one HTML page: it opens without a network, and can be read on light and dark screens and on paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.diagnostics.diagnosis import Diagnosis
from training.diagnostics.heat_maps import matrix_width
from training.diagnostics.outcome import TaskDifference
from training.diagnostics.panels import ROWS, panels
from training.page.template import page_template
from training.page.wording import decimals, duration, signed

TEMPLATE = "report.html.jinja"


def render(diagnosis: Diagnosis, title: str) -> str:
    """The page.

    Args:
        diagnosis: What to show.
        title: Of the experiment.
    """
    return page_template(__package__, TEMPLATE).render(
        signed=_signed,
        mean=_mean,
        title=title,
        headline=diagnosis.headline,
        setup=diagnosis.setup,
        verdict=diagnosis.verdict,
        facts=_facts(diagnosis),
        sections=list(panels(diagnosis)),
        judged=ROWS[diagnosis.setup.split],
        duration=duration(diagnosis.setup.seconds),
        matrix_width=matrix_width(len(diagnosis.setup.tasks)),
    )


def _facts(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    setup, verdict = diagnosis.setup, diagnosis.verdict
    facts = [
        ("outcome", verdict.outcome.replace("_", " ") if verdict else "not asked for"),
        ("model", f"{setup.model}, {setup.weighting}"),
        ("seeds", str(len(setup.seeds) if verdict else 1)),
        (f"{ROWS[setup.split]} rows", f"{setup.num_judged_rows:,}"),
        ("dense parameters", f"{setup.multi_parameters:,} shared, {setup.single_parameters:,} apart"),
    ]
    return facts + ([("must gain", ", ".join(verdict.primaries))] if verdict and verdict.primaries else [])


def _signed(value: float, task: TaskDifference | None = None) -> str:
    return signed(value, 2 if task is None else decimals(task.margin))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
