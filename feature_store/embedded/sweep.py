"""Removes expired rows, a bounded number with each write, so that the file does not grow with rows that nobody sees."""

from __future__ import annotations

import time

import lmdb

from feature_store.embedded.keys import SWEEP, RowKeys
from feature_store.rows import read_header


class Sweep:
    """Goes round the rows of one view, at the pace of its writes.

    Args:
        view: Name of the view.
    """

    def __init__(self, view: str) -> None:
        self._place = SWEEP + view.encode()
        self._rows = RowKeys(view)

    def begin(self, txn: lmdb.Transaction[bytes]) -> None:
        """Called when rows with a time to live are written; views without any are never swept."""
        txn.put(self._place, self._rows.prefix, overwrite=False)

    def advance(self, txn: lmdb.Transaction[bytes], num_rows: int) -> None:
        """Look at the next `num_rows` rows, and remove those that expired."""
        start = txn.get(self._place)
        if start is None:
            return
        with txn.cursor() as cursor:
            txn.put(self._place, self._remove(cursor, start, num_rows, time.time()))

    def _remove(self, cursor: lmdb.Cursor[bytes], start: bytes, num_rows: int, now: float) -> bytes:
        """The key to go on from; at the end of the view its beginning."""
        found = cursor.set_range(start)
        for _ in range(num_rows):
            if not found or not cursor.key().startswith(self._rows.prefix):
                return self._rows.prefix
            _, raw = self._rows.row(*cursor.item())
            found = cursor.delete() if read_header(raw).expires_at <= now else cursor.next()
        return cursor.key() if found and cursor.key().startswith(self._rows.prefix) else self._rows.prefix
