"""Policies in Redis: one store for many servers on many machines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from pydantic import Field
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ranker.fusion import FusionPolicy
from ranker.schema import FrozenConfig
from serving.errors import PolicyStoreUnavailable
from serving.policies.base import PolicyStore, SavedPolicy, conflict, parse_saved, saved_now

# Appends one version if the newest is the one the caller built upon, in one step that no other client comes between.
# KEYS: the scene's versions (list), newest version of every scene (hash), revision. ARGV: scene, version, saved.
_APPEND = """
local newest = redis.call('LLEN', KEYS[1])
if newest + 1 ~= tonumber(ARGV[2]) then return newest end
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
redis.call('INCR', KEYS[3])
return -1
"""
_APPENDED = -1


class RedisPolicyStore(PolicyStore):
    """Policies in Redis: a list of versions per scene, and a hash with the newest of each.

    The braces in every key put them all into one slot, so that a Redis Cluster runs the append as one step too.
    """

    class Config(FrozenConfig):
        """Where the server is."""

        backend: Literal["redis"] = "redis"
        url: str = Field(description="Like redis://host:6379/0; rediss:// for TLS.")
        prefix: str = Field("ranker", min_length=1, description="Begins every key; another one for every installation.")
        timeout_seconds: float = Field(2.0, gt=0)

        def build(self) -> RedisPolicyStore:
            """The store; it connects on first use."""
            return RedisPolicyStore(self)

    def __init__(self, config: Config) -> None:
        self._config = config
        self._redis: Any = Redis.from_url(  # redis-py types its answers as sync-or-async unions
            config.url, socket_timeout=config.timeout_seconds, socket_connect_timeout=config.timeout_seconds
        )
        self._live_key = self._key("live")
        self._revision_key = self._key("revision")

    async def revision(self) -> int:
        """See `PolicyStore`."""
        async with self._errors():
            return int(await self._redis.get(self._revision_key) or 0)

    async def live(self) -> Mapping[str, SavedPolicy]:
        """See `PolicyStore`."""
        async with self._errors():
            saved = await self._redis.hvals(self._live_key)
        return {policy.scene: policy for policy in map(parse_saved, saved)}

    async def get(self, scene: str, version: int | None = None) -> SavedPolicy | None:
        """See `PolicyStore`."""
        if version is not None and version < 1:
            return None
        async with self._errors():
            saved = await self._redis.lindex(self._key(f"scene:{scene}"), -1 if version is None else version - 1)
        return parse_saved(saved) if saved else None

    async def history(self, scene: str, limit: int = 100) -> list[SavedPolicy]:
        """See `PolicyStore`."""
        async with self._errors():
            saved = await self._redis.lrange(self._key(f"scene:{scene}"), -limit, -1)
        return [parse_saved(entry) for entry in reversed(saved)]

    async def save(
        self, scene: str, policy: FusionPolicy, *, author: str, comment: str = "", expected_version: int | None = None
    ) -> SavedPolicy:
        """See `PolicyStore`."""
        keys = (self._key(f"scene:{scene}"), self._live_key, self._revision_key)
        async with self._errors():
            newest = expected_version if expected_version is not None else int(await self._redis.llen(keys[0]))
            while True:
                saved = saved_now(scene, newest + 1, policy, author, comment)
                actual = int(
                    await self._redis.eval(_APPEND, len(keys), *keys, scene, saved.version, saved.model_dump_json())
                )
                if actual == _APPENDED:
                    return saved
                if expected_version is not None:
                    raise conflict(scene, expected_version, actual)
                newest = actual  # another save came between; without an expectation this one goes on top of it

    async def close(self) -> None:
        """See `PolicyStore`."""
        await self._redis.aclose()

    def _key(self, name: str) -> str:
        return f"{{{self._config.prefix}:policies}}:{name}"

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError) as exc:
            raise PolicyStoreUnavailable(
                f"policy store cannot be reached: {exc}; check RANKER_POLICIES__URL and that Redis runs"
            ) from exc
