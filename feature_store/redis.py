"""The Redis store: one key per entity, one MGET per request."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from feature_store.base import FeatureStore
from feature_store.errors import StoreUnavailable
from feature_store.rows import HEADER_BYTES, RowHeader, read_header

_PAGE_ROWS = 1_000


class RedisStore(FeatureStore):
    """Redis 6.2 or newer (or a server that speaks like it), one server.

    Keys are `{key_prefix}:{view}:{entity id}`, each one packed row; the hash `{key_prefix}:views` holds the schemas.
    Rows with a time to live are removed by the server itself.
    """

    chunk_rows = 2_000  # one pipeline: enough to hide the round trip, short enough not to hold up readers

    class Config(BaseModel):
        """Where the server is and how long to wait for it."""

        model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

        backend: Literal["redis"] = "redis"
        url: str = Field(
            "redis://127.0.0.1:6379/0",
            repr=False,  # may hold a password
            description="redis://HOST:PORT/DB, rediss:// for TLS, unix://PATH; user and password may be in it.",
        )
        password: SecretStr | None = Field(None, description="Instead of one in the URL; no log shows it.")
        key_prefix: str = Field("ranker", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Keeps our keys from others'.")
        timeout_seconds: float = Field(1.0, gt=0, description="Longest wait for one answer.")
        connect_timeout_seconds: float = Field(1.0, gt=0, description="Longest wait for a connection.")
        max_connections: int = Field(32, ge=1, description="Per process; requests beyond wait for a free one.")
        num_retries: int = Field(1, ge=0, description="Tries after the first, when a connection breaks.")
        tls_ca_file: Path | None = Field(None, description="Certificates to trust for rediss://; null: the system's.")

        @field_validator("url")
        @classmethod
        def _check_url(cls, url: str) -> str:
            parts = urlsplit(url)
            if parts.scheme not in ("redis", "rediss", "unix"):
                raise ValueError("`url` must start with redis://, rediss:// or unix://")
            if parts.scheme != "unix" and not parts.hostname:
                raise ValueError("`url` must name a host, like redis://127.0.0.1:6379/0")
            if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdigit():
                raise ValueError("`url` must end in a database number, like redis://127.0.0.1:6379/0")
            if parts.query and (parts.scheme != "unix" or not re.fullmatch(r"db=\d+", parts.query)):
                raise ValueError(
                    "`url` must have no options after '?' (but db=N for unix://); they are fields of their own"
                )
            _ = parts.port  # urlsplit checks it only when asked
            return url

        @model_validator(mode="after")
        def _check(self) -> Self:
            if self.password is not None and urlsplit(self.url).password is not None:
                raise ValueError("`password` and a password in `url` must not both be given; drop one")
            if self.tls_ca_file is not None and not self.url.startswith("rediss://"):
                raise ValueError("`tls_ca_file` needs a `url` that starts with rediss://")
            return self

        @property
        def address(self) -> str:
            """The URL without user and password."""
            parts = urlsplit(self.url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

        def build(self) -> RedisStore:
            """The store; it connects on first use."""
            return RedisStore(self)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self._redis = Redis(connection_pool=_pool(config))

    async def ping(self) -> None:
        """Return if the server answers."""
        with self._reported():
            await self._redis.ping()

    async def close(self) -> None:
        """Close all connections."""
        with self._reported():
            await self._redis.aclose(close_connection_pool=True)

    async def _read_catalog(self) -> dict[str, bytes]:
        with self._reported():
            fields: dict[bytes, bytes] = await self._redis.hgetall(self._catalog)  # type: ignore[assignment] # see `_pool`
        return {field.decode(): value for field, value in fields.items()}

    async def _register(self, view: str, schema_hash: str, document: bytes, replace: bool) -> str:
        with self._reported():
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(self._catalog, f"{view}/{schema_hash}", document)
                (pipe.hset if replace else pipe.hsetnx)(self._catalog, view, schema_hash)
                pipe.hget(self._catalog, view)
                current: bytes = (await pipe.execute())[-1]
        return current.decode()

    async def _read(self, view: str, keys: list[bytes]) -> list[bytes | None]:
        prefix = self._prefix(view)
        with self._reported():
            rows: list[bytes | None] = await self._redis.mget([prefix + key for key in keys])  # type: ignore[assignment]
        return rows

    async def _write(self, view: str, chunk: list[tuple[bytes, bytes]], expires_at: float | None) -> None:
        prefix = self._prefix(view)
        milliseconds = None if expires_at is None else int(expires_at * 1000)
        with self._reported():
            async with self._redis.pipeline(transaction=False) as pipe:
                for key, raw in chunk:
                    pipe.set(prefix + key, raw, pxat=milliseconds)
                await pipe.execute()

    async def _delete(self, view: str, keys: list[bytes]) -> int:
        prefix = self._prefix(view)
        with self._reported():
            return int(await self._redis.unlink(*[prefix + key for key in keys]))

    async def _scan(self, view: str) -> AsyncIterator[tuple[RowHeader, int]]:
        cursor, pattern = 0, self._prefix(view) + b"*"
        while True:
            with self._reported():
                cursor, keys = await self._redis.scan(cursor, match=pattern, count=_PAGE_ROWS)
                async with self._redis.pipeline(transaction=False) as pipe:
                    for key in keys:
                        pipe.getrange(key, 0, HEADER_BYTES - 1)
                        pipe.strlen(key)
                    answers = await pipe.execute() if keys else []
            for raw, size in zip(answers[::2], answers[1::2], strict=True):
                if raw:  # a row may be gone since the scan saw it
                    yield read_header(raw), size
            if not cursor:
                return

    @property
    def _catalog(self) -> str:
        return f"{self.config.key_prefix}:views"

    def _prefix(self, view: str) -> bytes:
        return f"{self.config.key_prefix}:{view}:".encode()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as exc:
            raise StoreUnavailable(
                f"Redis at {self.config.address} failed: {type(exc).__name__} {exc}; "
                "check that it runs, its address and the password"
            ) from exc


def _pool(config: RedisStore.Config) -> BlockingConnectionPool:
    options: dict[str, Any] = {}
    if config.password is not None:
        options["password"] = config.password.get_secret_value()
    if config.tls_ca_file is not None:
        options["ssl_ca_certs"] = str(config.tls_ca_file)
    return BlockingConnectionPool.from_url(
        config.url,
        max_connections=config.max_connections,
        timeout=config.timeout_seconds,
        socket_timeout=config.timeout_seconds,
        socket_connect_timeout=config.connect_timeout_seconds,
        retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), config.num_retries),
        **options,
    )
