"""The Redis store: packed rows under one key per entity, read by one MGET per request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from typing import Any

from redis.exceptions import RedisClusterException, RedisError

from feature_store.backend import Packed
from feature_store.base import FeatureStore
from feature_store.errors import StoreUnavailable
from feature_store.packing import ChunkSize
from feature_store.redis import scripts
from feature_store.redis.change_log import ChangeLog, max_entries, pack_entities
from feature_store.redis.client import Client
from feature_store.redis.keys import KeySpace
from feature_store.redis.settings import RedisSettings
from feature_store.rows import read_header

_UPDATE_TRIES = 100
_STEP_ROWS = 128  # written in one atomic step: a fraction of a millisecond in which the server answers nobody else


class RedisStore(FeatureStore):
    """Redis 6.2 or newer, or a server that speaks like it: one, a master that Sentinels watch, or a Cluster.

    `feature_store.redis.keys` tells how keys are named. Rows with a time to live are removed by the server itself.
    The server must not evict keys (`maxmemory-policy noeviction`, or a volatile one).
    """

    chunk_size = ChunkSize(2_000, 16 * 2**20)  # one pipeline: enough to hide the round trip

    class Config(RedisSettings):
        """Where the servers are and how long to wait for them."""

        def build(self) -> RedisStore:
            """The store; it connects on first use."""
            return RedisStore(self)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self._client = Client(config)
        self._redis = self._client.redis
        self._is_cluster = config.servers.topology == "cluster"
        self._keys = KeySpace(config.key_prefix, self._is_cluster)
        self._free_connections = asyncio.Semaphore(config.max_connections)

    async def ping(self) -> None:
        """Return if the server, or every master of the cluster, answers."""
        async with self._connection():
            await self._redis.ping(**({"target_nodes": "primaries"} if self._is_cluster else {}))

    async def close(self) -> None:
        """Close all connections."""
        with self._reported():
            await self._client.close()

    async def _read_catalog(self) -> dict[str, bytes]:
        async with self._connection():
            fields: dict[bytes, bytes] = await self._redis.hgetall(self._keys.catalog)
        return {field.decode(): value for field, value in fields.items()}

    async def _register(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        async with self._connection():
            current: bytes = await self._redis.eval(
                scripts.REGISTER, 1, self._keys.catalog, view, schema_hash, document, int(replace)
            )
        return current.decode()

    async def _read(self, wanted: Mapping[str, Sequence[bytes]]) -> dict[str, list[bytes | None]]:
        keys = {view: self._keys.rows(view, entities) for view, entities in wanted.items()}
        async with self._connection():
            rows = iter(await self._mget([key for of_view in keys.values() for key in of_view]))
        return {view: list(islice(rows, len(of_view))) for view, of_view in keys.items()}

    async def _write(self, view: str, chunk: list[Packed], expires_at: float | None) -> None:
        await self._run(scripts.WRITE, view, [(key, [raw]) for key, raw in chunk], [_milliseconds(expires_at)])

    async def _update(self, view: str, keys: list[bytes], change: Callable[[int, bytes | None], bytes]) -> None:
        places = {key: (place, keys[place]) for place, key in enumerate(self._keys.rows(view, keys))}
        for _ in range(_UPDATE_TRIES):
            async with self._connection():
                found = await self._mget(list(places))
            steps: list[tuple[bytes, list[Any]]] = []
            for (place, entity), raw in zip(places.values(), found, strict=True):
                row = change(place, raw)
                steps.append((entity, [raw or b"", row, _milliseconds(read_header(row).expires_at)]))
            others = [key for keys in await self._run(scripts.REPLACE, view, steps, []) for key in keys]
            places = {key: places[key] for key in others}
            if not places:
                return
        raise StoreUnavailable(
            f"Redis at {self.config.address}: {len(places)} rows of view '{view}' changed each time they were to be "
            f"updated, {_UPDATE_TRIES} times; let fewer writers update the same rows"
        )

    async def _delete(self, view: str, rows: list[tuple[bytes, bytes | None]]) -> int:
        return sum(await self._run(scripts.DELETE, view, [(key, [expected or b""]) for key, expected in rows], []))

    async def _scan(self, view: str, page_rows: int) -> AsyncIterator[list[Packed]]:
        found = self._redis.scan_iter(match=self._keys.pattern(view), count=page_rows)
        keys = [b""]
        while keys:
            async with self._connection():
                keys = await _some(found, page_rows)
                raws = await self._mget(keys) if keys else []
            entities = [self._keys.entity(view, key) for key in keys]
            # A row may be gone since the scan saw its key.
            yield [(entity, raw) for entity, raw in zip(entities, raws, strict=True) if raw is not None]

    async def _changes(self, view: str, cursor: str | None) -> tuple[list[bytes], str]:
        log = ChangeLog(self._redis, self._keys, view)
        async with self._connection():
            return ([], await log.end()) if cursor is None else await log.since(cursor)

    async def _mget(self, keys: list[bytes]) -> list[bytes | None]:
        rows: list[bytes | None] = await (self._redis.mget_nonatomic if self._is_cluster else self._redis.mget)(keys)
        return rows

    async def _run(self, script: str, view: str, rows: list[tuple[bytes, list[Any]]], options: list[Any]) -> list[Any]:
        """Run a script of `scripts` on rows, given as entity and arguments of its own; what each step answers."""
        logs, num_entries = self._keys.logs(view), max_entries(self._keys.num_buckets)
        async with self._connection(), self._redis.pipeline(transaction=False) as pipe:
            for bucket, step in self._keys.steps(rows, _STEP_ROWS):
                entities = [entity for entity, _ in step]
                keys = [logs[bucket], *self._keys.rows(view, entities)]
                arguments = [argument for _, own in step for argument in own]
                pipe.eval(script, len(keys), *keys, num_entries, pack_entities(entities), *options, *arguments)
            answers: list[Any] = await pipe.execute()
        return answers

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[None]:
        """Be one of the `max_connections` that ask at the same time."""
        try:
            async with asyncio.timeout(self.config.timeout_seconds):
                await self._free_connections.acquire()
        except TimeoutError as exc:
            raise StoreUnavailable(
                f"Redis at {self.config.address}: all `max_connections` = {self.config.max_connections} were busy for "
                f"{self.config.timeout_seconds:g} s; raise it, or ask less at once"
            ) from exc
        try:
            with self._reported():
                yield
        finally:
            self._free_connections.release()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, RedisClusterException, OSError) as exc:
            raise StoreUnavailable(
                f"Redis at {self.config.address} failed: {type(exc).__name__} {exc}; "
                "check that it runs, its address and the password"
            ) from exc


async def _some(keys: AsyncIterator[bytes], limit: int) -> list[bytes]:
    taken: list[bytes] = []
    async for key in keys:
        taken.append(key)
        if len(taken) == limit:
            break
    return taken


def _milliseconds(expires_at: float | None) -> bytes | int:
    return b"" if expires_at is None or expires_at == math.inf else int(expires_at * 1000)
