"""What a store must be able to do with packed rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import ClassVar

from feature_store.packing import ChunkSize

Packed = tuple[bytes, bytes]  # an entity's key, as of `entity_key`, and its packed row


class Backend(ABC):
    """Packed rows by key, in views. `FeatureStore` makes features of them; a new store is one more `Backend`.

    Keys are never empty in what is written; in `_read` and `_delete` they may be. A driver's errors become ours here.
    """

    chunk_size: ClassVar[ChunkSize]  # of a bulk write

    @abstractmethod
    async def ping(self) -> None:
        """Return if the store answers.

        Raises:
            StoreUnavailable: It does not.
        """

    @abstractmethod
    async def close(self) -> None:
        """Release connections and files; doing so again is fine."""

    @abstractmethod
    async def _read_catalog(self) -> dict[str, bytes]:
        """All views: `view` -> hash of its current schema, `view/hash` -> that schema as JSON."""

    @abstractmethod
    async def _register(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        """In one atomic step add a schema and, if none is current or `replace`, make it so; the current hash."""

    @abstractmethod
    async def _read(self, wanted: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes | None]]:
        """Packed rows by view, in the order of its keys, in one round trip. There is at least one key."""

    @abstractmethod
    async def _write(self, view: str, chunk: list[Packed], expires_at: float | None) -> None:
        """Write one chunk, in steps that are atomic for each row, and log the keys in the same steps."""

    @abstractmethod
    async def _update(self, view: str, keys: list[bytes], change: Callable[[int, bytes | None], bytes]) -> None:
        """Write `change(place, row)` in the place of the row of each key, None if there is none; log as `_write` does.

        What `change` is given must be what its answer replaces, whoever else writes; it may be called more than once.
        """

    @abstractmethod
    async def _delete(self, view: str, rows: list[tuple[bytes, bytes | None]]) -> int:
        """Remove one chunk of rows, each if it is the one given, or whatever it is if None; log as `_write` does.

        Returns:
            How many were removed.
        """

    @abstractmethod
    def _scan(self, view: str, page_rows: int) -> AsyncIterator[list[Packed]]:
        """Every row of a view, about `page_rows` at once."""

    @abstractmethod
    async def _changes(self, view: str, cursor: str | None) -> tuple[list[bytes], str]:
        """Keys logged after a cursor, oldest first, and the next cursor; None: no keys, and where the log ends now."""
