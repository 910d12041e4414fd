"""Where Parquet files lie: a path on this machine, or any URL that fsspec reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Self

import fsspec
import pyarrow.fs as pafs

from ranker.errors import DataError

_SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class Source:
    """Parquet files of one path or URL.

    Attributes:
        where: As the user gave it.
        filesystem: That holds them.
        root: Folder of the files, by the filesystem's own paths; its subfolders may be hive partitions.
        files: Their paths, sorted.
        prefix: What stands before a path in messages, like `s3://`; empty for this machine.
    """

    where: str
    filesystem: pafs.FileSystem
    root: str
    files: tuple[str, ...]
    prefix: str = ""

    @classmethod
    def find(cls, where: str | Path) -> Self:
        """Look for the files.

        Args:
            where: A Parquet file or a folder of them: a path, or a URL like `s3://bucket/log`.

        Raises:
            DataError: There is nothing, or it cannot be reached.
        """
        filesystem, path, prefix = _open(str(where))
        try:
            found = filesystem.get_file_info(path)
            if found.type == pafs.FileType.NotFound:
                raise DataError(f"data '{where}' does not exist; give a Parquet file or a folder of them")
            if found.type == pafs.FileType.File:
                return cls(str(where), filesystem, str(PurePosixPath(path).parent), (path,), prefix)
            below = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
        except OSError as exc:
            raise DataError(f"data '{where}' cannot be listed: {exc}; check the address and your access to it") from exc
        files = [file.path for file in below if file.type == pafs.FileType.File and file.path.endswith(_SUFFIX)]
        if not files:
            raise DataError(f"folder '{where}' holds no {_SUFFIX} file; give a Parquet file or a folder of them")
        return cls(str(where), filesystem, path, tuple(sorted(files, key=PurePosixPath)), prefix)

    def window(self, key: str, last: date, num_days: int) -> Self:
        """The files of some days only.

        Args:
            key: Of the hive partitions `key=YYYY-MM-DD`.
            last: Day.
            num_days: Days up to that one, it included.

        Raises:
            DataError: No file lies in such a folder.
        """
        days = {f"{key}={last - timedelta(days=back)}" for back in range(num_days)}
        files = tuple(file for file in self.files if days & set(PurePosixPath(file).parts))
        if not files:
            raise DataError(
                f"data '{self.where}' has no folder '{key}=YYYY-MM-DD' of the {num_days} days up to {last}; write the "
                "log in such folders, or name their key in `nightly.partition`, or set `nightly.window_days: null`"
            )
        return replace(self, files=files)

    def listing(self) -> tuple[str, ...]:
        """One text per file that changes when the file does: its path, size and time."""
        found = self.filesystem.get_file_info(list(self.files))
        return tuple(f"{file.path} {file.size} {file.mtime_ns}" for file in found)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return PurePosixPath(self.where).name

    @property
    def remote(self) -> bool:
        """Whether reading many small parts costs more than a few large ones."""
        return bool(self.prefix)

    def partitions(self, file: str) -> frozenset[str]:
        """Names of the hive partitions that a file lies in: folders `name=value` below `root`."""
        folders = PurePosixPath(file).relative_to(self.root).parent.parts
        return frozenset(folder.split("=")[0] for folder in folders if "=" in folder)

    def label(self, file: str) -> str:
        """A file as messages call it."""
        return f"{self.prefix}{file}"


def _open(where: str) -> tuple[pafs.FileSystem, str, str]:
    """Filesystem, path in it, and what messages put before that."""
    if "://" not in where:
        return pafs.LocalFileSystem(), where, ""
    protocol = where.split("://")[0]
    try:
        filesystem, path = fsspec.url_to_fs(where)
    except ImportError as exc:
        raise DataError(f"data '{where}' needs a package that is not installed: {exc}") from exc
    except (ValueError, OSError) as exc:
        raise DataError(f"data '{where}' cannot be opened: {exc}; check the address and your access to it") from exc
    if protocol in {"file", "local"}:
        return pafs.LocalFileSystem(), path, ""
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path, f"{protocol}://"
