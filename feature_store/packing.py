"""Rows to write, packed chunk by chunk in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from feature_store.encoder import RowEncoder
from feature_store.entity import EntityId, entity_key
from feature_store.errors import InvalidRow

# One row to write: entity id, value by column, event time in unix seconds.
Row = tuple[EntityId, Mapping[str, Any], float | None]


class ChunkSize(NamedTuple):
    """How much of a bulk write is held in memory and sent at once: whichever is reached first."""

    num_rows: int
    num_bytes: int


def pack(
    encoder: RowEncoder, rows: Iterable[Row], expires_at: float, size: ChunkSize
) -> Iterator[list[tuple[bytes, bytes]]]:
    """Keys and packed rows, in the order given.

    Raises:
        InvalidRow: A row does not fit, or its id is empty.
    """
    chunk: list[tuple[bytes, bytes]] = []
    num_bytes = 0
    for entity_id, values, event_time in rows:
        key = written_key(entity_id)
        chunk.append((key, encoder.encode(entity_id, values, event_time, expires_at)))
        num_bytes += len(key) + len(chunk[-1][1])
        if len(chunk) >= size.num_rows or num_bytes >= size.num_bytes:
            yield chunk
            chunk, num_bytes = [], 0
    if chunk:
        yield chunk


def written_key(entity_id: EntityId) -> bytes:
    """The key of an entity whose row is to be written.

    Raises:
        InvalidRow: The id is empty, or neither text nor an integer.
    """
    key = entity_key(entity_id)
    if not key:
        raise InvalidRow("entity id must not be empty, got ''; drop the row or give it an id")
    return key
