"""The page: the decision first, then what it rests on, in the order in which a reader asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ranker.errors import BundleError
from ranker.manifest import Manifest
from training.page.template import page_template
from training.page.wording import duration
from training.report.calibration import calibration_panel
from training.report.changes import changes_panel
from training.report.comparison import comparison_panel
from training.report.data import data_panel
from training.report.gates import gate_panel
from training.report.headline import facts, headline
from training.report.panel import Panel, Table
from training.report.progress import steps
from training.report.quality import quality_panel
from training.report.run_files import WRITERS, RunFiles
from training.report.stages import stages_panel
from training.report.training import training_panel
from training.warm_start import BUNDLE

TEMPLATE = "report.html.jinja"

# By section that may be left out, the file that it needs and what the reader misses.
_NEEDS = {
    "comparison": ("gate.json", "The comparison with the live model"),
    "data": ("profile.json", "The data"),
    "training": ("history.json", "Curves and weights"),
    "quality": ("metrics.json", "The model's quality"),
    "calibration": ("calibration_report.json", "Calibration before and after"),
    "gates": ("gates.json", "Which experts the tasks use"),
}


def render(run: Path, previous: Path | None = None) -> str:
    """The report of a run as one HTML page, whatever is there to be reported.

    Args:
        run: Folder of the run.
        previous: Folder of the run that it is held against; None: of none, and nothing is said of changes.
    """
    files = RunFiles.read(run)
    before = None if previous is None else RunFiles.read(previous)
    panels = list(_panels(files, before))
    return page_template(__package__, TEMPLATE).render(
        duration=duration,
        date=files.date,
        headline=headline(files),
        facts=list(facts(files)),
        steps=steps(files.record),
        panels=panels,
        missing=list(_missing(files, {panel.name for panel in panels})),
        settings=_settings(files),
        made_by=list(_made_by(files)),
    )


def _panels(run: RunFiles, previous: RunFiles | None) -> Iterator[Panel]:
    yield from comparison_panel(run)
    yield from data_panel(run, previous)
    yield from changes_panel(run, previous)
    yield from training_panel(run)
    yield from quality_panel(run)
    yield from calibration_panel(run)
    yield from gate_panel(run)
    yield from stages_panel(run)


def _missing(run: RunFiles, present: set[str]) -> Iterator[tuple[str, str]]:
    """What the page does not have, and why."""
    for section, (name, title) in _NEEDS.items():
        if section not in present:
            yield title, _why(run, name)
    for name, reason in run.problems.items():
        if name not in WRITERS:
            yield name, reason


def _why(run: RunFiles, name: str) -> str:
    if name == "gates.json" and run.gates is not None and run.gates.reason is not None:
        return run.gates.reason
    if name == "calibration_report.json" and run.calibration is not None:
        return "no output is a probability"
    return run.why_absent(name)


def _settings(run: RunFiles) -> Table | None:
    if run.settings is None:
        return None
    rows = [list(setting) for setting in run.settings.items()]
    return Table.of(("setting", "value"), rows, title="Every setting of the experiment", words=(1,), folded=True)


def _made_by(run: RunFiles) -> Iterator[str]:
    """Versions of what made the model, in sentences."""
    if run.record is not None:
        yield f"Fingerprint of experiment and data: {run.record.fingerprint}."
    try:
        manifest = Manifest.load(run.folder / BUNDLE)
    except BundleError:
        return  # the run has not come to its bundle
    yield f"Made by version {manifest.code_version} with torch {manifest.torch_version}."
