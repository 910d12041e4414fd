"""Stores named by text and by configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from feature_store import EmbeddedStore, InvalidInput, RedisStore, StoreConfig, parse_store


def test_text_names_a_store() -> None:
    assert parse_store("lmdb:a/b c") == EmbeddedStore.Config(path=Path("a/b c"))
    assert parse_store("lmdb:/x?readonly=true") == EmbeddedStore.Config(path=Path("/x"), readonly=True)
    urls = ("redis://h:1/2", "rediss://u:p@h:1", "unix:///run/redis.sock", "unix:///run/redis.sock?db=3")
    for url in (*urls, "redis+sentinel://a:1,b/main/2", "rediss+cluster://u:p@a,b:7"):
        assert parse_store(url) == RedisStore.Config(url=url)
    text = "redis://h?key_prefix=shop&timeout_seconds=2.5&max_connections=3"
    assert parse_store(text) == RedisStore.Config(
        url="redis://h", key_prefix="shop", timeout_seconds=2.5, max_connections=3
    )


@pytest.mark.parametrize("text", ["", "lmdb:", "sqlite:x", "data/features", "mysql://u:topsecret@h", "u:topsecret@h"])
def test_other_text_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InvalidInput, match="`store` must be lmdb:PATH or redis://HOST:PORT/DB") as caught:
        parse_store(text)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lmdb:x?size=1", "size: Extra inputs are not permitted"),
        ("lmdb:x?map_size_bytes=5", "map_size_bytes: Input should be greater than or equal to"),
        ("redis://:topsecret@h:1/x", "url: Value error, `url` must end in a database number"),
        ("redis://:topsecret@h:1?key_prefix=a b", "key_prefix: String should match"),
    ],
)
def test_a_bad_field_is_named(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parse_store(text)
    assert "topsecret" not in str(caught.value)


async def test_the_union_is_chosen_by_its_backend(tmp_path: Path) -> None:
    config = TypeAdapter[EmbeddedStore.Config | RedisStore.Config](StoreConfig)
    embedded = config.validate_python({"backend": "lmdb", "path": tmp_path})
    redis = config.validate_python({"backend": "redis", "url": "redis://h:1/0"})
    assert isinstance(embedded.build(), EmbeddedStore)
    assert isinstance(redis.build(), RedisStore)
