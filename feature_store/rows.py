"""Packed rows: how one entity's features are laid out in bytes.

byte 0       format, 1
bytes 1-8    digest of the schema that the row was written with
bytes 9-16   event time, unix seconds, little-endian float64; NaN: none
bytes 17-24  expiry, unix seconds, likewise; infinity: never
bytes 25-    msgpack array: the values in the schema's column order, nil for null
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

FORMAT = 1
HEADER = struct.Struct("<B8sdd")


class FeatureRow(NamedTuple):
    """The features of one entity.

    Attributes:
        values: Value by column name, every column of the row's schema there; None is a null.
        event_time: When the values were true, unix seconds; None when the writer did not say.
        expires_at: From when on the row is missing, unix seconds; None when it stays.
    """

    values: dict[str, Any]
    event_time: float | None
    expires_at: float | None = None


class RowHeader(NamedTuple):
    """What is known about a packed row without unpacking its values."""

    format: int
    digest: bytes
    event_time: float
    expires_at: float


def read_header(raw: bytes) -> RowHeader:
    """The header of a packed row; only its first `HEADER.size` bytes are needed."""
    return RowHeader._make(HEADER.unpack_from(raw))
