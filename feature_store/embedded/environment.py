"""LMDB environments, one per directory and process: LMDB forbids a second one, stores come and go."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import lmdb

from feature_store.errors import StoreUnavailable


class SharedEnvironment:
    """An open environment and the number of its users: stores, and transactions under way."""

    def __init__(self, path: Path, map_size_bytes: int, readonly: bool, create: bool) -> None:
        self.path = path
        self.num_users = 0
        self._process_id = os.getpid()
        before = _identity(path, "data.mdb")  # a file that is replaced right now then counts as replaced later
        self._env = _open(path, map_size_bytes, readonly, create)
        self._data = before or _identity(path, "data.mdb")
        self._lock = _identity(path, "lock.mdb")

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

    def is_replaced(self, path: Path) -> bool:
        """Whether another file has taken the place of the one that is open; one that is merely gone has not.

        Args:
            path: The directory as it was named: a link may lead elsewhere by now.

        Raises:
            StoreUnavailable: Only one of the two files was replaced, which LMDB cannot work with.
        """
        data = _identity(path, "data.mdb")
        if data in (None, self._data):
            return False
        if self._lock is not None and _identity(path, "lock.mdb") == self._lock:
            raise StoreUnavailable(
                f"LMDB store '{path}': data.mdb was replaced and lock.mdb was not, which would damage the store; "
                "put a new directory in the place of the old one (mv), or restart all processes that use it"
            )
        return True

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
    resolved = path.resolve()
    with _lock:
        shared = _shared.get(resolved)
        if shared is None or shared.is_replaced(resolved):
            shared = SharedEnvironment(resolved, map_size_bytes, readonly, create)
            _shared[resolved] = shared  # a replaced one lives on until its users have let go of it
        shared.num_users += 1
        return shared


def hold(shared: SharedEnvironment) -> None:
    """Be one more user of an environment, which so stays open; give it back with `release`."""
    with _lock:
        shared.num_users += 1


def release(shared: SharedEnvironment) -> None:
    """Give an environment back; the last user's release closes it."""
    with _lock:
        shared.num_users -= 1
        if not shared.num_users:
            if _shared.get(shared.path) is shared:
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
        env.reader_check()  # frees the slots of readers that were killed
        return env
    except (lmdb.Error, OSError) as exc:
        raise StoreUnavailable(
            f"LMDB store '{path}' cannot be opened: {exc}; check the path and its permissions"
        ) from exc


def _identity(path: Path, name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(f"{path}/{name}")
    except OSError:
        return None
    return found.st_dev, found.st_ino
