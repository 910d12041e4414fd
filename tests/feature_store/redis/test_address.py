"""What a URL names."""

from __future__ import annotations

import pytest

from feature_store.redis.address import Address


@pytest.mark.parametrize(
    ("url", "hosts", "service", "database", "login"),
    [
        ("redis://h", [("h", 6379)], "", 0, (None, None)),
        ("rediss://u:p%40w@[::1]:7/2", [("::1", 7)], "", 2, ("u", "p@w")),
        ("redis+sentinel://:pw@a,b:7/main", [("a", 26379), ("b", 7)], "main", 0, (None, "pw")),
        ("rediss+sentinel://a/main/3", [("a", 26379)], "main", 3, (None, None)),
        ("redis+cluster://a:1,b,c:3", [("a", 1), ("b", 6379), ("c", 3)], "", 0, (None, None)),
        ("redis+cluster://a/0", [("a", 6379)], "", 0, (None, None)),
    ],
)
def test_servers(
    url: str, hosts: list[tuple[str, int]], service: str, database: int, login: tuple[str | None, str | None]
) -> None:
    address = Address.parse(url)
    assert (list(address.hosts), address.service, address.database) == (hosts, service, database)
    assert (address.username, address.password) == login
    assert address.tls == url.startswith("rediss")
    assert "pw" not in address.text
    assert "@" not in address.text


def test_a_socket() -> None:
    address = Address.parse("unix:///run/redis.sock?db=3")
    assert (address.socket, address.database, address.hosts) == ("/run/redis.sock", 3, ())
    assert Address.parse("unix://me:secret@/run/redis.sock").socket == "/run/redis.sock"
