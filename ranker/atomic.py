"""Files and folders that appear whole or not at all, and survive a power cut once they have appeared."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL_SUFFIX = ".partial"


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; when the block ends well it is synced to disk and renamed.

    On any exception the temporary folder is removed and `target` does not exist. A killed process leaves a folder
    whose name starts with a dot and ends in `.partial`, which nothing reads.

    Raises:
        FileExistsError: `target` exists, or appeared meanwhile.
    """
    if target.exists():
        raise FileExistsError(f"{target} exists already")
    partial = partial_path(target)
    partial.mkdir(parents=True)
    try:
        yield partial
        _sync_tree(partial)
        try:
            os.rename(partial, target)
        except OSError as error:
            if target.exists():
                raise FileExistsError(f"{target} exists already") from error
            raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _sync(target.parent)


def replace_file(target: Path, content: bytes) -> None:
    """Replace the content of `target`; whoever reads it, even after a crash, finds all of the old or all of the new."""
    partial = partial_path(target)
    try:
        partial.write_bytes(content)
        _sync(partial)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync(target.parent)


def remove_folder(target: Path) -> None:
    """Remove a folder: for a reader it is gone at once, never half there."""
    partial = partial_path(target)
    os.rename(target, partial)
    shutil.rmtree(partial)


def partial_path(target: Path) -> Path:
    """A fresh hidden name beside `target` for what is not ready, or no longer, to be seen under that name."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
