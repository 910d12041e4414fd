"""Which store, as configuration and as text on a command line."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from pydantic import Field, TypeAdapter, ValidationError

from feature_store.embedded import EmbeddedStore
from feature_store.errors import InvalidInput
from feature_store.redis import RedisStore
from feature_store.redis.address import SCHEMES as REDIS_SCHEMES

StoreConfig = Annotated[EmbeddedStore.Config | RedisStore.Config, Field(discriminator="backend")]

_CONFIG: TypeAdapter[EmbeddedStore.Config | RedisStore.Config] = TypeAdapter(StoreConfig)


def parse_store(text: str) -> EmbeddedStore.Config | RedisStore.Config:
    """The store that a text like `lmdb:PATH` or `redis://HOST:PORT/DB` names; any field may follow as `?field=value`.

    Raises:
        InvalidInput: The text names no store, or a field is unknown or out of range.

    Example:
        >>> parse_store("lmdb:data/features?map_size_bytes=1073741824").map_size_bytes
        1073741824
        >>> parse_store("redis://cache:6379/2?key_prefix=shop").address
        'redis://cache:6379/2'
    """
    location, _, query = text.partition("?")
    fields: dict[str, object] = dict(parse_qsl(query, keep_blank_values=True))
    if location.startswith("lmdb:") and location != "lmdb:":
        fields |= {"backend": "lmdb", "path": location.removeprefix("lmdb:")}
    elif location.partition("://")[0] in REDIS_SCHEMES:
        database = fields.pop("db", None) if location.startswith("unix://") else None
        fields |= {"backend": "redis", "url": location if database is None else f"{location}?db={database}"}
    else:
        scheme = location.partition(":")[0]  # never the whole text, which may hold a password
        raise InvalidInput(
            f"`store` must be lmdb:PATH or redis://HOST:PORT/DB (or rediss://, unix://, redis+sentinel://, "
            f"redis+cluster://), got '{scheme}...'"
        )
    try:
        return _CONFIG.validate_python(fields)
    except ValidationError as exc:
        reasons = "; ".join(f"{'.'.join(map(str, error['loc'][1:]))}: {error['msg']}" for error in exc.errors())
        raise InvalidInput(f"`store` is not usable: {reasons}") from exc
