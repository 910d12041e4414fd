"""LMDB environments, one per directory and process: LMDB forbids a second one, stores come and go."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import lmdb

from feature_store.errors import StoreUnavailable


@dataclass(slots=True)
class _Shared:
    env: lmdb.Environment
    num_users: int
    process_id: int


_shared: dict[Path, _Shared] = {}
_lock = threading.Lock()


def acquire(path: Path, map_size_bytes: int, readonly: bool, create: bool) -> lmdb.Environment:
    """The environment of a directory, shared by all stores of this process; give it back with `release`.

    Of several stores on one directory the first decides `map_size_bytes` and `readonly`.

    Raises:
        StoreUnavailable: Nothing is there and `create` is False, or it cannot be opened, or was opened before a fork.
    """
    path = path.resolve()
    with _lock:
        shared = _shared.get(path)
        if shared is None:
            env = _open(path, map_size_bytes, readonly, create)
            shared = _shared[path] = _Shared(env, 0, os.getpid())
        if shared.process_id != os.getpid():
            raise StoreUnavailable(
                f"LMDB store '{path}' must be opened after forking, but process {shared.process_id} opened it and "
                "then forked this one; close the store before the fork, or use it only after"
            )
        shared.num_users += 1
        return shared.env


def release(path: Path) -> None:
    """Give an environment back; the last user's release closes it."""
    path = path.resolve()
    with _lock:
        shared = _shared[path]
        shared.num_users -= 1
        if not shared.num_users:
            del _shared[path]
            shared.env.close()


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
