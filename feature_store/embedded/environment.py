"""LMDB environments, one per directory and process: LMDB forbids a second one, stores come and go."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import lmdb

from feature_store.errors import StoreUnavailable


class SharedEnvironment:
    """An open environment and the number of stores that use it."""

    def __init__(self, path: Path, env: lmdb.Environment) -> None:
        self.path = path
        self.num_users = 0
        self._env = env
        self._process_id = os.getpid()

    def get(self) -> lmdb.Environment:
        """The environment.

        Raises:
            StoreUnavailable: This process was forked after it was opened; LMDB then damages its own file.
        """
        if os.getpid() != self._process_id:
            raise StoreUnavailable(
                f"LMDB store '{self.path}' must be opened after forking, but process {self._process_id} opened it and "
                "then forked this one; close the store before the fork, or use it only after"
            )
        return self._env

    def close(self) -> None:
        """Close it; in a forked process only forget it, since closing is up to the one that opened it."""
        if os.getpid() == self._process_id:
            self._env.close()


_shared: dict[Path, SharedEnvironment] = {}
_lock = threading.Lock()


def acquire(path: Path, map_size_bytes: int, readonly: bool, create: bool) -> SharedEnvironment:
    """The environment of a directory, shared by all stores of this process; give it back with `release`.

    Of several stores on one directory the first decides `map_size_bytes` and `readonly`.

    Raises:
        StoreUnavailable: Nothing is there and `create` is False, or it cannot be opened.
    """
    path = path.resolve()
    with _lock:
        if path not in _shared:
            _shared[path] = SharedEnvironment(path, _open(path, map_size_bytes, readonly, create))
        _shared[path].num_users += 1
        return _shared[path]


def release(shared: SharedEnvironment) -> None:
    """Give an environment back; the last user's release closes it."""
    with _lock:
        shared.num_users -= 1
        if not shared.num_users:
            del _shared[shared.path]
            shared.close()


def _open(path: Path, map_size_bytes: int, readonly: bool, create: bool) -> lmdb.Environment:
    if not create and not (path / "data.mdb").exists():
        raise StoreUnavailable(
            f"no LMDB store at '{path}'; correct the path, or make one with `ranker-features materialize`"
        )
    try:
        path.mkdir(parents=True, exist_ok=True)
        env = lmdb.open(str(path), map_size=map_size_bytes, readonly=readonly, mode=0o644, max_readers=1024)
        env.reader_check()  # frees the slots of readers that were killed; they would keep old pages from reuse
    except (lmdb.Error, OSError) as exc:
        raise StoreUnavailable(
            f"LMDB store '{path}' cannot be opened: {exc}; check the path and its permissions"
        ) from exc
    return env
