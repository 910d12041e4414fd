"""Which entities of a view changed, oldest first, kept in the transaction that changes them.

An entry is the keys of one write. Its position is the number of keys logged before it, so positions tell how much lies
between two entries. A cursor names the last entry that its reader has seen, by position and by a random token: as long
as that very entry is there, nothing after it is gone, because entries go from the oldest on. The token tells apart
files that were restored or replaced.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import lmdb
import msgspec

from feature_store.embedded.keys import LOG
from feature_store.errors import expired_cursor

MAX_IDS = 200_000  # in the log of one view: a few MB, and seconds of the fastest bulk write
_PAGE_IDS = 20_000

_POSITION = struct.Struct(">Q")
_HEADER = struct.Struct(">8sI")  # token, number of keys
_BEGINNING = "0"  # the cursor of a log that has no entry yet

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class _Entry(NamedTuple):
    """An entry without its keys."""

    start: int
    token: bytes
    num_keys: int

    @property
    def end(self) -> int:
        return self.start + self.num_keys

    @property
    def cursor(self) -> str:
        return f"{self.start:x}-{self.token.hex()}"


class ChangeLog:
    """The log of one view."""

    def __init__(self, view: str) -> None:
        self._view = view
        self._prefix = LOG + view.encode() + b"\0"

    def append(self, txn: lmdb.Transaction[bytes], keys: Sequence[bytes]) -> None:
        """Log that these entities are written or deleted in this transaction, and let the oldest entries go."""
        with txn.cursor() as cursor:
            last = self._last(cursor)
            entry = _Entry(0 if last is None else last.end, os.urandom(8), len(keys))
            header = _HEADER.pack(entry.token, entry.num_keys)
            cursor.put(self._key(entry.start), header + _pack(list(keys)))
            self._trim(cursor, entry.end)

    def since(self, txn: lmdb.Transaction[bytes], cursor: str | None) -> tuple[list[bytes], str]:
        """Keys logged after `cursor`, oldest first, about `_PAGE_IDS` at most, and the cursor that follows them.

        Raises:
            CursorExpired: Entries after `cursor` are gone, or it is of another file.
        """
        with txn.cursor() as at:
            if cursor is None:
                last = self._last(at)
                return [], _BEGINNING if last is None else last.cursor
            keys: list[bytes] = []
            for entry in self._after(at, cursor):
                keys += _unpack(at.value()[_HEADER.size :])
                cursor = entry.cursor
                if len(keys) >= _PAGE_IDS:
                    break
            return keys, cursor

    def _after(self, at: lmdb.Cursor[bytes], cursor: str) -> Iterator[_Entry]:
        if cursor == _BEGINNING:
            entries = self._entries(at, 0)
            first = next(entries, None)
            if first is None:
                return
            if first.start:
                raise expired_cursor(self._view, cursor)
            yield first
        else:
            entries = self._entries(at, _position(cursor))
            seen = next(entries, None)
            if seen is None or seen.cursor != cursor:
                raise expired_cursor(self._view, cursor)
        yield from entries

    def _entries(self, at: lmdb.Cursor[bytes], start: int) -> Iterator[_Entry]:
        """Entries from a position on; the LMDB cursor stands at the one given last."""
        found = at.set_range(self._key(start))
        while found and at.key().startswith(self._prefix):
            yield self._entry(at)
            found = at.next()

    def _trim(self, at: lmdb.Cursor[bytes], end: int) -> None:
        found = at.set_range(self._key(0))
        while found and at.key().startswith(self._prefix) and end - self._entry(at).end >= MAX_IDS:
            found = at.delete()  # and stands at the next one

    def _last(self, at: lmdb.Cursor[bytes]) -> _Entry | None:
        beyond = at.set_range(self._key(2**64 - 1))
        found = at.prev() if beyond else at.last()
        return self._entry(at) if found and at.key().startswith(self._prefix) else None

    def _entry(self, at: lmdb.Cursor[bytes]) -> _Entry:
        (start,) = _POSITION.unpack_from(at.key(), len(self._prefix))
        return _Entry(start, *_HEADER.unpack_from(at.value()))

    def _key(self, position: int) -> bytes:
        return self._prefix + _POSITION.pack(position)


def _position(cursor: str) -> int:
    start, _, _ = cursor.partition("-")
    try:
        return min(int(start, 16), 2**64 - 1)
    except ValueError:
        return 2**64 - 1  # no cursor of ours: nothing is there
