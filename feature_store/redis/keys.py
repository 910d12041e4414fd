"""How keys are named in Redis, and spread over the slots of a cluster.

    PREFIX:views             hash of schemas
    PREFIX:VIEW:ID           a row
    PREFIX:changes/VIEW      change log

In a cluster a command can touch only keys of one slot. So rows lie in buckets, the part of a key in braces, and each
bucket is one slot with a change log of its own: `PREFIX:VIEW:{TAG}:ID` and `PREFIX:changes/VIEW:{TAG}`. A request for
500 rows is then at most 64 commands in place of 500, and rows and log change in one atomic step. Tags are chosen so
that buckets are evenly spaced over the slots: nodes with equal ranges of slots have equal numbers of buckets.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

NUM_CLUSTER_BUCKETS = 64

_Row = TypeVar("_Row")


class KeySpace:
    """Keys of one installation.

    Args:
        prefix: Begins every key; holds neither a colon nor braces.
        is_cluster: Whether keys are spread over slots.
    """

    def __init__(self, prefix: str, is_cluster: bool) -> None:
        self._prefix = prefix.encode()
        self._tags = _evenly_spaced(NUM_CLUSTER_BUCKETS) if is_cluster else ()

    @property
    def catalog(self) -> bytes:
        """Key of the hash of schemas."""
        return self._prefix + b":views"

    @property
    def num_buckets(self) -> int:
        """Number of buckets, and so of change logs, of a view."""
        return len(self._tags) or 1

    def logs(self, view: str) -> list[bytes]:
        """Keys of a view's change logs, one per bucket."""
        stem = b"%b:changes/%b" % (self._prefix, view.encode())
        return [b"%b:{%b}" % (stem, tag) for tag in self._tags] or [stem]

    def rows(self, view: str, entities: Iterable[bytes]) -> list[bytes]:
        """Keys of entities' rows."""
        stem, tags = self._stem(view), self._tags
        if not tags:
            return [stem + entity for entity in entities]
        return [b"%b{%b}:%b" % (stem, tags[zlib.crc32(entity) % len(tags)], entity) for entity in entities]

    def pattern(self, view: str) -> bytes:
        """What SCAN finds exactly the rows of a view with."""
        return self._stem(view) + (b"{*}:*" if self._tags else b"*")

    def entity(self, view: str, key: bytes) -> bytes:
        """The entity of a row's key."""
        entity = key[len(self._stem(view)) :]
        return entity.partition(b"}:")[2] if self._tags else entity

    def steps(self, rows: Sequence[tuple[bytes, _Row]], limit: int) -> Iterator[tuple[int, list[tuple[bytes, _Row]]]]:
        """Bucket and rows of each step of a write: entities of one bucket, at most `limit`, in the order given."""
        buckets: list[list[tuple[bytes, _Row]]] = [[] for _ in range(self.num_buckets)]
        for row in rows:
            buckets[zlib.crc32(row[0]) % len(buckets)].append(row)
        for number, bucket in enumerate(buckets):
            for start in range(0, len(bucket), limit):
                yield number, bucket[start : start + limit]

    def _stem(self, view: str) -> bytes:
        return b"%b:%b:" % (self._prefix, view.encode())


def _evenly_spaced(num_tags: int) -> tuple[bytes, ...]:
    """Tags of which the n-th lies in the n-th of `num_tags` equal ranges of slots."""
    tags: dict[int, bytes] = {}
    number = 0
    while len(tags) < num_tags:
        tag = b"%d" % number
        tags.setdefault(key_slot(tag) * num_tags // REDIS_CLUSTER_HASH_SLOTS, tag)
        number += 1
    return tuple(tags[place] for place in range(num_tags))
