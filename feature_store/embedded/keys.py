"""How the keys of the LMDB file are laid out.

    \\0 field                     catalog
    \\1 view \\0 position          change log, positions as eight bytes, most significant first
    \\2 view                      how far the sweep of a view has come
    view \\0 id                   a row
    view \\0 \\0 digest            a row whose id is too long for a key; its value begins with the id

No view's name holds a byte below 32. Ids that begin with a zero byte are kept by digest too, so that the last two never
meet.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

CATALOG = b"\0"
LOG = b"\1"
SWEEP = b"\2"

_MAX_KEY_BYTES = 511  # LMDB's own limit
_LENGTH = struct.Struct(">I")


class RowKeys:
    """Where the rows of one view are.

    Args:
        view: Name of the view.

    Attributes:
        prefix: What the keys of all its rows begin with, and nothing else does.
    """

    def __init__(self, view: str) -> None:
        self.prefix = view.encode() + b"\0"
        self._digests = self.prefix + b"\0"
        self._max_id_bytes = _MAX_KEY_BYTES - len(self.prefix)

    def keys(self, entities: Sequence[bytes]) -> list[bytes]:
        """The keys of entities' rows."""
        prefix, limit = self.prefix, self._max_id_bytes
        keys = [prefix + entity for entity in entities]
        for place, entity in enumerate(entities):
            if len(entity) > limit or entity.startswith(b"\0"):
                keys[place] = self._digests + hashlib.blake2b(entity, digest_size=32).digest()
        return keys

    def value(self, key: bytes, entity: bytes, raw: bytes) -> bytes:
        """What is stored under an entity's key for its packed row."""
        return _LENGTH.pack(len(entity)) + entity + raw if key.startswith(self._digests) else raw

    def row(self, key: bytes, value: bytes) -> tuple[bytes, bytes]:
        """The entity and the packed row that are stored as `key` and `value`."""
        if not key.startswith(self._digests):
            return key[len(self.prefix) :], value
        end = _LENGTH.size + _LENGTH.unpack_from(value)[0]
        return value[_LENGTH.size : end], value[end:]

    def raw(self, key: bytes, value: bytes | None) -> bytes | None:
        """The packed row alone, if there is one."""
        return value if value is None or not key.startswith(self._digests) else self.row(key, value)[1]
