"""Into the registry, if the gate let it through."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ranker.manifest import MANIFEST
from training.errors import NightlyError
from training.nightly.first import on_first
from training.nightly.night import Night, current
from training.nightly.record import past_runs
from training.warm_start import BUNDLE, TRAINED


def publish(night: Night) -> dict[str, Any]:
    """Publish the bundle and make it live; nothing happens if an attempt that was killed did so already.

    Raises:
        RegistryError: The registry cannot be read.
        BundleError: The copy in the registry is not the bundle; what was live stays.
        NightlyError: The registry holds another bundle of that version.
    """
    return on_first(lambda: _publish(night))


def _publish(night: Night) -> dict[str, Any]:
    gate = night.record.done("gate")
    assert gate is not None  # the stages run in order
    if not gate.summary["passed"]:
        live = current(night.registry)
        _drop_old_states(night, live)
        return {"published": False, "live": live}
    version = night.record.version
    if version in {info.version for info in night.registry.versions()}:
        _check_same(night.folder / BUNDLE, night.registry.path(version))
        if current(night.registry) == gate.summary["champion"]:  # killed before it was live
            night.registry.activate(version)
    else:
        night.registry.publish(night.folder / BUNDLE)
    live = current(night.registry)
    night.log.event(
        "published", f"published {version}; {'it' if live == version else live} is now live", version=version
    )
    removed = night.registry.keep(night.config.nightly.keep_versions)
    _drop_old_states(night, live)
    return {"published": True, "live": live, "removed": removed}


def _check_same(ours: Path, published: Path) -> None:
    """Refuse to take another bundle of the same name for this night's; the manifest holds every file's hash."""
    if (ours / MANIFEST).read_bytes() != (published / MANIFEST).read_bytes():
        raise NightlyError(
            f"'{published}' is another bundle than '{ours}', of the same version; run again with --force, which begins "
            "anew under another version"
        )


def _drop_old_states(night: Night, live: str | None) -> None:
    """Keep the training state of the last nights only, it is most of a run's bytes; and that of the live version."""
    folders = [
        folder
        for folder, record in past_runs(night.paths.runs)
        if record.done("publish") and record.version != live  # what may be left of that run needs no state
        if (folder / TRAINED).is_dir()
    ]
    others = night.config.nightly.keep_states - 1  # beside tonight's
    for folder in folders[: max(len(folders) - others, 0)]:
        shutil.rmtree(folder / TRAINED, ignore_errors=True)
        shutil.rmtree(folder / BUNDLE, ignore_errors=True)
