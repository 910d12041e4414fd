"""The bundle: scripted, verified, with the report of the night inside."""

from __future__ import annotations

from typing import Any

from ranker.bundle import Bundle
from ranker.errors import BundleError
from training.export import export_bundle
from training.nightly.first import on_first
from training.nightly.night import Night, remove
from training.nightly.stages.check import COUNTS
from training.nightly.stages.gate import DECISION
from training.report import render
from training.warm_start import BUNDLE


def export(night: Night) -> dict[str, Any]:
    """Write `bundle/`, whatever the gate said: a refused model can be looked at too.

    Raises:
        BundleError: TorchScript and training disagree on real rows.
        OSError: The disk has no room for it.
    """
    target = night.folder / BUNDLE
    if not on_first(lambda: _is_there(night)):
        remove(target)
        export_bundle(
            target,
            config=night.config,
            network=night.trainer.network,
            encoder=night.encoder,
            calibration=night.calibration,
            impressions=night.impressions,
            metrics={**night.read("metrics.json"), "history": night.read("history.json"), "gate": night.read(DECISION)},
            data={
                "path": night.impressions.name,
                "splits": night.read(COUNTS),
                "date": night.day.isoformat(),
                "window_days": night.config.nightly.window_days,
            },
            version=night.record.version,
            report=on_first(lambda: render(night.folder, night.night_before)),
        )
    return {"version": night.record.version}


def _is_there(night: Night) -> bool:
    """Whether an attempt that was killed right after this stage has left the whole bundle."""
    try:
        return Bundle.load(night.folder / BUNDLE).manifest.version == night.record.version
    except BundleError:
        return False
