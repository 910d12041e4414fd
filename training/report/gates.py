"""Which experts does each task use?"""

from __future__ import annotations

from collections.abc import Iterator

from training.diagnostics.findings import gate_findings
from training.diagnostics.heat_maps import gate_plot
from training.report.panel import Panel, Plot, Remark
from training.report.run_files import RunFiles


def gate_panel(run: RunFiles) -> Iterator[Panel]:
    """The heat map; nothing for a run without gates."""
    if run.gates is None or not run.gates.gates:
        return
    yield Panel(
        name="gates",
        title="Which experts does each task use?",
        lead="Mean gate weight of every expert over the validation rows.",
        parts=(
            Plot(
                gate_plot(run.gates),
                "Rows: a task's gate, with the number of experts that a row effectively uses (exp of the entropy). "
                "Rows that look alike mean that the tasks share one mixture; an empty column is an expert nobody uses.",
            ),
        ),
        remarks=tuple(Remark(finding.level, finding.text) for finding in gate_findings(run.gates)),
    )
