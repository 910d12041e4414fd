"""What is particular to Redis: outages, passwords, keys, time to live on the server, and one round trip."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr, ValidationError
from redis.asyncio import Redis

from feature_store import Column, RedisStore, StoreUnavailable, ViewSchema

ITEM = ViewSchema("item", (Column("text", "string"),))


def store_at(url: str, **options: Any) -> RedisStore:
    return RedisStore.Config(url=url, **{"key_prefix": uuid4().hex, "timeout_seconds": 30, **options}).build()


async def test_passwords_are_used_and_never_shown(own_redis: Callable[..., Any]) -> None:
    server = own_redis("--requirepass", "s3cret")
    with_password = server.url.replace("redis://", "redis://:s3cret@")
    for options in ({"url": with_password}, {"url": server.url, "password": SecretStr("s3cret")}):
        async with store_at(**options) as store:
            await store.create_view(ITEM)
            assert await store.views() == ("item",)
            assert "s3cret" not in repr(store.config) + store.config.address
    async with store_at(with_password.replace("s3cret", "wr0ng")) as store:
        with pytest.raises(StoreUnavailable, match=f"Redis at {server.url} failed") as caught:
            await store.ping()
    assert "wr0ng" not in str(caught.value)


async def test_a_user_of_the_server_is_named(own_redis: Callable[..., Any]) -> None:
    server = own_redis()
    server.ask("acl", "setuser", "ranker", "on", ">s3cret", "~shop:*", "+@all")
    server.ask("acl", "setuser", "default", "off")
    address = server.url.replace("redis://", "redis://ranker:s3cret@")
    fields = {"url": server.url, "username": "ranker", "password": SecretStr("s3cret")}
    for options in ({"url": address}, fields):
        async with store_at(**{**options, "key_prefix": "shop"}) as store:
            await store.create_view(ITEM)
            await store.put_many("item", [("a", {"text": "x"}, None)])
            assert None not in await store.get_many("item", ["a"])
    async with store_at(**{**fields, "key_prefix": "other"}) as store:  # may not touch others' keys
        with pytest.raises(StoreUnavailable, match="permission"):
            await store.create_view(ITEM)


async def test_a_server_that_is_full_is_unavailable(own_redis: Callable[..., Any]) -> None:
    server = own_redis("--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    async with store_at(server.url) as store:
        await store.create_view(ITEM)
        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await store.put_many("item", ((n, {"text": "x" * 10_000}, None) for n in range(5_000)))
        assert await store.get_many("item", ["absent"]) == [None]


async def num_commands(*observers: Redis) -> int:
    return sum([int((await observer.info("stats"))["total_commands_processed"]) for observer in observers])


async def test_one_request_is_one_command(redis_url: str) -> None:
    async with store_at(redis_url) as store, Redis.from_url(redis_url) as observer:
        for view in ("item", "user"):
            await store.create_view(ViewSchema(view, ITEM.columns))
            await store.put_many(view, [(n, {"text": "x"}, None) for n in range(500)])
        await store.get_views({"item": ["first"], "user": ["first"]})  # reads the schemas
        before = await num_commands(observer)
        rows = await store.get_views({"item": range(500), "user": [7]})
        after = await num_commands(observer)
    assert None not in [*rows["item"], *rows["user"]]
    assert after - before == 2  # the MGET, and the first INFO


async def test_one_request_to_a_cluster_is_a_command_per_bucket(cluster_url: str) -> None:
    hosts = cluster_url.removeprefix("redis+cluster://").split(",")
    async with store_at(cluster_url) as store, AsyncExitStack() as stack:
        observers = [await stack.enter_async_context(Redis.from_url(f"redis://{host}")) for host in hosts]
        await store.create_view(ITEM)
        await store.put_many("item", [(n, {"text": "x"}, None) for n in range(500)])
        await store.get_many("item", ["first"])
        before = await num_commands(*observers)
        rows = await store.get_many("item", range(500))
        after = await num_commands(*observers)
    assert None not in rows
    assert after - before <= 64 + 3 + 10  # each INFO, and what nodes tell each other meanwhile


async def test_keys_and_time_to_live_on_the_server(redis_url: str) -> None:
    async with store_at(redis_url) as store, Redis.from_url(redis_url) as observer:
        await store.create_view(ITEM)
        await store.put_many("item", [("é", {"text": "x"}, None)])
        await store.put_many("item", [(7, {"text": "x"}, None)], ttl_seconds=3_600)
        prefix = store.config.key_prefix
        assert await observer.ttl(f"{prefix}:item:é") == -1
        assert 0 < await observer.ttl(f"{prefix}:item:7") <= 3_600
        assert sorted(await observer.keys(f"{prefix}*")) == [
            f"{prefix}:changes/item".encode(),
            f"{prefix}:item:7".encode(),
            f"{prefix}:item:é".encode(),
            f"{prefix}:views".encode(),
        ]


async def test_prefixes_keep_stores_apart(redis_url: str) -> None:
    async with store_at(redis_url) as mine, store_at(redis_url) as other:
        for store in (mine, other):
            await store.create_view(ITEM)
        await mine.put_many("item", [("a", {"text": "x"}, None)])
        assert await other.get_many("item", ["a"]) == [None]
        assert ((await mine.stats("item")).num_rows, (await other.stats("item")).num_rows) == (1, 0)


async def test_a_key_of_another_program_is_no_row(redis_url: str) -> None:
    async with store_at(redis_url) as store, Redis.from_url(redis_url) as observer:
        await observer.set(f"{store.config.key_prefix}:views", "not a hash")
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await store.views()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": "http://h:1"}, "`url` must start with redis://"),
        ({"url": "redis://"}, "`url` must name a host"),
        ({"url": "redis://h:1/zero"}, "`url` must end in a database number"),
        ({"url": "redis://h:port"}, "Port could not be cast"),
        ({"url": "redis://h:99999"}, "Port out of range"),
        ({"url": "redis://h:1/0?socket_timeout=1"}, "`url` must have no options"),
        ({"url": "redis://:pw@h:1", "password": "other"}, "must not both be given"),
        ({"tls_ca_file": "ca.pem"}, "`tls_ca_file` needs a `url` that starts with rediss://"),
        ({"url": "rediss://h", "tls_key_file": "key.pem"}, "`tls_key_file` needs `tls_cert_file`"),
        ({"url": "redis://u:pw@h:1", "username": "other"}, "must not both be given"),
        ({"sentinel_password": "pw"}, "need a `url` like redis"),
        ({"url": "redis+sentinel://a,b"}, "`url` must name the master's service"),
        ({"url": "redis+sentinel://a,b/main/one"}, "`url` must end in a database number"),
        ({"url": "redis+cluster://a,b/1"}, "a cluster has only database 0"),
        ({"url": "redis+cluster://a,,b"}, "`url` must name a host"),
        ({"key_prefix": "a:b"}, "key_prefix"),
        ({"timeout_seconds": 0}, "greater than 0"),
        ({"uri": "redis://h"}, "Extra inputs"),
    ],
)
def test_bad_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        RedisStore.Config.model_validate(fields)
    assert "pw" not in str(caught.value)
