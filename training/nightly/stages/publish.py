"""Into the registry, if the gate let it through."""

from __future__ import annotations

import shutil
from typing import Any

from training.nightly.first import on_first
from training.nightly.night import Night, current
from training.nightly.record import past_runs
from training.warm_start import BUNDLE, TRAINED


def publish(night: Night) -> dict[str, Any]:
    """Publish the bundle and make it live; nothing happens if an attempt that was killed did so already.

    Raises:
        RegistryError: The registry cannot be read.
        BundleError: The copy in the registry is not the bundle; what was live stays.
    """
    return on_first(lambda: _publish(night))


def _publish(night: Night) -> dict[str, Any]:
    gate = night.record.done("gate")
    assert gate is not None  # the stages run in order
    if not gate.summary["passed"]:
        return {"published": False, "live": current(night.registry)}
    version = night.record.version
    if version in {info.version for info in night.registry.versions()}:
        night.registry.activate(version)
    else:
        night.registry.publish(night.folder / BUNDLE)
    night.log.event("published", f"published {version}; it is now live", version=version)
    removed = night.registry.keep(night.config.nightly.keep_versions)
    _drop_old_states(night)
    return {"published": True, "live": version, "removed": removed}


def _drop_old_states(night: Night) -> None:
    """Keep the training state of the last nights only: it is most of a run's bytes."""
    folders = [folder for folder, _ in past_runs(night.paths.runs) if (folder / TRAINED).is_dir()]
    for folder in folders[: -night.config.nightly.keep_states]:
        shutil.rmtree(folder / TRAINED, ignore_errors=True)
        shutil.rmtree(folder / BUNDLE, ignore_errors=True)
