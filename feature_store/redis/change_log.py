"""Which entities changed, oldest first: one stream per bucket of a view.

An entry is the keys of one write step. A cursor holds, for each stream, the id of the last entry that its reader has
seen. As long as that very entry is there nothing after it is gone, because entries go from the oldest on; a stream that
was lost, or that a failover set back, lacks it. Where a stream had no entry yet, none is gone until it is full.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from feature_store.errors import expired_cursor
from feature_store.redis.keys import KeySpace

_ENTRIES = 10_000  # in all logs of a view; a write step is an entry of at most some hundred entities
_PAGE_ENTRIES = 256
_BEGINNING = "0-0"  # the place before the first entry
_PLACE = re.compile(r"\d{1,20}-\d{1,20}")

pack_entities = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class ChangeLog:
    """The log of one view.

    Args:
        redis: The client.
        keys: Names of keys.
        view: Name of the view.
    """

    def __init__(self, redis: Any, keys: KeySpace, view: str) -> None:
        self._redis = redis
        self._view = view
        self._streams = keys.logs(view)

    async def end(self) -> str:
        """The cursor after the newest entry."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream in self._streams:
                pipe.xrevrange(stream, count=1)
            newest = await pipe.execute()
        return ",".join(entries[0][0].decode() if entries else _BEGINNING for entries in newest)

    async def since(self, cursor: str) -> tuple[list[bytes], str]:
        """Some entities logged after `cursor`, oldest first in each bucket, and the cursor that follows them.

        Raises:
            CursorExpired: Entries after `cursor` are gone, or it is of another store.
        """
        places = cursor.split(",")
        if len(places) != len(self._streams) or not all(map(_PLACE.fullmatch, places)):
            raise expired_cursor(self._view, cursor)
        entities: list[bytes] = []
        for number, (entries, num_entries) in enumerate(await self._read(places)):
            if places[number] == _BEGINNING:
                is_whole = num_entries < max_entries(len(places))
            else:
                is_whole = bool(entries) and entries.pop(0)[0].decode() == places[number]
            if not is_whole:
                raise expired_cursor(self._view, cursor)
            for entry_id, fields in entries:
                entities += _unpack(fields[b"entities"])
                places[number] = entry_id.decode()
        return entities, ",".join(places)

    async def _read(self, places: list[str]) -> list[tuple[list[Any], int]]:
        """Entries of each stream from a place on, and how many it has, if that matters and not before they are read."""
        count = 1 + max(1, _PAGE_ENTRIES // len(places))
        async with self._redis.pipeline(transaction=False) as pipe:
            for stream, place in zip(self._streams, places, strict=True):
                pipe.xrange(stream, min=place, count=count)
            for stream, place in zip(self._streams, places, strict=True):
                if place == _BEGINNING:
                    pipe.xlen(stream)
            answers = await pipe.execute()
        lengths = iter(answers[len(places) :])
        return [
            (entries, next(lengths) if place == _BEGINNING else 0)
            for place, entries in zip(places, answers[: len(places)], strict=True)
        ]


def max_entries(num_streams: int) -> int:
    """How many entries each of a view's streams keeps at least."""
    return _ENTRIES // num_streams
