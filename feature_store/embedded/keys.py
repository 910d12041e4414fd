"""How the keys of the LMDB file are laid out.

    \\0 field                     catalog
    \\1 view \\0 position          change log, positions as eight bytes, most significant first
    view \\0 id                   a row
    view \\0 \\0 digest            a row whose id is too long for a key; its value begins with the id

No view's name holds a byte below 32. Ids that begin with a zero byte are kept by digest too, so that the last two never
meet.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

CATALOG = b"\0"
LOG = b"\1"
MAX_KEY_BYTES = 511  # LMDB's own limit

_LENGTH = struct.Struct(">I")


class RowKeys(NamedTuple):
    """Where the rows of one view are.

    Attributes:
        prefix: What the keys of all its rows begin with, and nothing else does.
    """

    prefix: bytes

    @classmethod
    def of(cls, view: str) -> RowKeys:
        """The keys of a view."""
        return cls(view.encode() + b"\0")

    def key(self, entity: bytes) -> bytes:
        """The key of an entity's row."""
        key = self.prefix + entity
        return self._by_digest(entity) if _needs_digest(key, entity) else key

    def value(self, entity: bytes, raw: bytes) -> bytes:
        """What is stored for a packed row."""
        if not _needs_digest(self.prefix + entity, entity):
            return raw
        return _LENGTH.pack(len(entity)) + entity + raw

    def row(self, key: bytes, value: bytes) -> tuple[bytes, bytes]:
        """The entity and the packed row that are stored as `key` and `value`."""
        if not self.is_digest(key):
            return key[len(self.prefix) :], value
        end = _LENGTH.size + _LENGTH.unpack_from(value)[0]
        return value[_LENGTH.size : end], value[end:]

    def is_digest(self, key: bytes) -> bool:
        """Whether `key` names its entity by a digest."""
        return key.startswith(b"\0", len(self.prefix))

    def _by_digest(self, entity: bytes) -> bytes:
        return self.prefix + b"\0" + hashlib.blake2b(entity, digest_size=32).digest()


def _needs_digest(key: bytes, entity: bytes) -> bool:
    return len(key) > MAX_KEY_BYTES or entity.startswith(b"\0")
