"""A registry: versions of bundles in one folder, and which of them is current.

versions/<version>/   one bundle each, complete from the moment it is seen
current.json          the current version and those that were current before it
.lock                 held by whoever changes any of this; readers need no lock
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from ranker.atomic import PARTIAL_SUFFIX, atomic_folder, remove_folder, replace_file
from ranker.bundle import Bundle
from ranker.errors import BundleError, RegistryError
from ranker.manifest import Manifest, Version, reasons
from ranker.schema import FrozenConfig

_MAX_HISTORY = 100
_VERSION: TypeAdapter[str] = TypeAdapter(Version)


def new_version() -> str:
    """A fresh version name that sorts by time, e.g. `20261122T021300Z-3fa9c1`."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class Pointer(FrozenConfig):
    """Content of `current.json`."""

    format: Literal[1] = 1
    version: Version
    history: tuple[Version, ...] = ()
    """Versions to roll back to, the next one last."""
    activated_at: AwareDatetime

    @property
    def previous(self) -> str | None:
        """What `rollback` would activate."""
        return self.history[-1] if self.history else None


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One published version.

    Attributes:
        version: Its name.
        created_at: When the bundle was written; `None` if its manifest cannot be read.
        is_current: Whether it is the one to serve.
        is_previous: Whether `rollback` would activate it.
        manifest: The bundle's manifest; `None` if it cannot be read.
        problem: Why the manifest cannot be read; `None` if it can.
    """

    version: str
    created_at: datetime | None
    is_current: bool
    is_previous: bool
    manifest: Manifest | None
    problem: str | None


class Registry:
    """Published bundles under one folder. Any number of processes may read while one at a time changes it.

    Args:
        path: The registry's folder; the first `publish` creates it.
    """

    def __init__(self, path: Path | str) -> None:
        self.root = Path(path)
        self._versions = self.root / "versions"
        self._pointer = self.root / "current.json"

    def publish(self, bundle_path: Path | str, activate: bool = True) -> str:
        """Copy a bundle into the registry, verify the copy, and make it current unless told otherwise.

        Returns:
            The version, as the bundle's manifest names it.

        Raises:
            BundleError: The bundle is incomplete or altered, or does not reproduce its golden scores.
            RegistryError: The version is published already.
        """
        version = Manifest.load(Path(bundle_path)).version
        with self._locked():
            try:
                with atomic_folder(self._versions / version) as copy:
                    shutil.copytree(bundle_path, copy, dirs_exist_ok=True)
                    Bundle.load(copy).verify_golden()
            except FileExistsError as error:
                raise RegistryError(
                    f"version '{version}' is published already in '{self.root}'; a version never changes: "
                    "activate it, or export the model again under a new version"
                ) from error
            if activate:
                self._point_to(version)
        return version

    def activate(self, version: str, *, verified: bool = False) -> None:
        """Make a published version current, after verifying it. Nothing happens if it is current already.

        Args:
            version: Its name.
            verified: Whether the caller has verified it just now, so that it is not done again.

        Raises:
            RegistryError: No such version.
            BundleError: The version is incomplete or altered; the current one stays.
        """
        with self._locked():
            if verified:
                self.path(version)  # and it is still there
            else:
                self.load(version).verify_golden()
            self._point_to(version)

    def rollback(self) -> str:
        """Make the version current that was current before, and return it. Repeated, it goes further back.

        Raises:
            RegistryError: Nothing was current before.
            BundleError: That version is incomplete or altered; the current one stays.
        """
        with self._locked():
            pointer = self._read_pointer()
            if pointer.previous is None:
                raise RegistryError(
                    f"nothing was current before '{pointer.version}' in '{self.root}'; "
                    f"activate a version by name: {self._names() or 'none'}"
                )
            self.load(pointer.previous).verify_golden()
            self._write_pointer(pointer.previous, pointer.history[:-1])
            return pointer.previous

    def keep(self, n: int) -> list[str]:
        """Remove all but the newest `n` versions; the current and the previous one are never removed.

        Returns:
            The removed versions.

        Raises:
            ValueError: `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"`n` must be at least 1, got {n}")
        with self._locked():
            infos = self.versions()
            removed = [info.version for info in infos[:-n] if not (info.is_current or info.is_previous)]
            if removed and self._pointer.exists():
                pointer = self._read_pointer()
                # The way back goes first: at no moment does it lead to a version that is gone.
                self._write_pointer(pointer.version, tuple(v for v in pointer.history if v not in removed))
            for version in removed:
                remove_folder(self._versions / version)
            return removed

    def current(self) -> str:
        """The current version; reads one small file, so it may be asked every second.

        Raises:
            RegistryError: There is none, or `current.json` is unreadable.
        """
        return self._read_pointer().version

    def versions(self) -> list[VersionInfo]:
        """All published versions, oldest first; those whose manifest cannot be read come before all others."""
        pointer = self._read_pointer() if self._pointer.exists() else None
        infos = [self._info(version, pointer) for version in self._names()]
        return sorted(infos, key=lambda info: (info.created_at or datetime.min.replace(tzinfo=UTC), info.version))

    def path(self, version: str) -> Path:
        """Folder of a published version.

        Raises:
            RegistryError: No such version.
        """
        try:
            folder = self._versions / _VERSION.validate_python(version)
        except ValidationError as error:
            raise RegistryError(f"`version` must be a plain name like '{new_version()}', got {version!r}") from error
        if not folder.is_dir():
            raise RegistryError(f"no version '{version}' in '{self.root}'; versions: {self._names() or 'none'}")
        return folder

    def load(self, version: str | None = None) -> Bundle:
        """Read a version, the current one by default.

        Raises:
            RegistryError: No such version, or none is current.
            BundleError: The version is incomplete or altered.
        """
        name = self.current() if version is None else version
        bundle = Bundle.load(self.path(name))
        if bundle.manifest.version != name:
            raise BundleError(
                f"'{bundle.path}' holds version '{bundle.manifest.version}', not '{name}': the folder was renamed; "
                "give it back its name, or publish the bundle again"
            )
        return bundle

    def _names(self) -> list[str]:
        if not self._versions.is_dir():
            return []
        return sorted(path.name for path in self._versions.iterdir() if path.is_dir() and path.name[0] != ".")

    def _info(self, version: str, pointer: Pointer | None) -> VersionInfo:
        manifest, problem = None, None
        try:
            manifest = Manifest.load(self._versions / version)
        except BundleError as error:
            problem = str(error)
        return VersionInfo(
            version=version,
            created_at=manifest.created_at if manifest else None,
            is_current=pointer is not None and version == pointer.version,
            is_previous=pointer is not None and version == pointer.previous,
            manifest=manifest,
            problem=problem,
        )

    def _read_pointer(self) -> Pointer:
        try:
            return Pointer.model_validate_json(self._pointer.read_bytes(), strict=True)
        except FileNotFoundError:
            raise RegistryError(
                f"registry '{self.root}' has no current version; publish a bundle: "
                f"ranker-train publish BUNDLE --registry {self.root}"
            ) from None
        except (OSError, ValidationError) as error:
            reason = reasons(error) if isinstance(error, ValidationError) else error
            raise RegistryError(
                f"'{self._pointer}' cannot be read: {reason}; "
                f"remove it and activate a version: {self._names() or 'none'}"
            ) from error

    def _point_to(self, version: str) -> None:
        pointer = self._read_pointer() if self._pointer.exists() else None
        if pointer is None:
            self._write_pointer(version, ())
        elif pointer.version != version:
            self._write_pointer(version, (*pointer.history, pointer.version)[-_MAX_HISTORY:])

    def _write_pointer(self, version: str, history: tuple[str, ...]) -> None:
        pointer = Pointer(version=version, history=history, activated_at=datetime.now(UTC))
        replace_file(self._pointer, pointer.model_dump_json(indent=2).encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one to change the registry, and clear away what a killed process left behind."""
        self._versions.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.root / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for leftover in self._versions.glob(f".*{PARTIAL_SUFFIX}"):
                shutil.rmtree(leftover)
            for leftover in self.root.glob(f".*{PARTIAL_SUFFIX}"):
                leftover.unlink()
            yield
        finally:
            os.close(descriptor)  # releases the lock
