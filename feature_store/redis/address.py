"""Where the servers are, from a URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

Topology = Literal["server", "sentinel", "cluster"]

SCHEMES: dict[str, tuple[Topology, bool]] = {  # and whether TLS is spoken
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("server", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_DEFAULT_PORTS: dict[Topology, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class Address:
    """A server, the Sentinels that know one, or some nodes of a cluster.

    Attributes:
        topology: Which of the three.
        tls: Whether connections are encrypted.
        hosts: Host and port of the server, of each Sentinel, or of some of the cluster's nodes.
        socket: Path of a Unix socket, in the place of `hosts`; empty otherwise.
        service: Name by which Sentinels know the master; empty elsewhere.
        database: Number of the database; a cluster has only 0.
        username: From the URL.
        password: From the URL.
        text: The URL without user and password, for messages.
    """

    topology: Topology
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    socket: str
    service: str
    database: int
    username: str | None
    password: str | None
    text: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """The address that a URL names.

        Raises:
            ValueError: It names none; the message does not repeat it, since it may hold a password.

        Example:
            >>> Address.parse("redis+sentinel://:pw@s1,s2:26380/main/3").hosts
            (('s1', 26379), ('s2', 26380))
            >>> Address.parse("rediss+cluster://n1:7000,n2:7000").text
            'rediss+cluster://n1:7000,n2:7000'
        """
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES:
            raise ValueError(
                "`url` must start with redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://"
            )
        topology, tls = SCHEMES[scheme]
        rest, _, query = rest.partition("?")
        if query and (scheme != "unix" or not re.fullmatch(r"db=\d+", query)):
            raise ValueError(
                "`url` must have no options after '?' (but db=N for unix://); they are fields of their own"
            )
        netloc, slash, path = rest.partition("/")
        userinfo, _, servers = netloc.rpartition("@")
        username, _, password = userinfo.partition(":")
        is_socket = scheme == "unix"
        service, database = ("", query.removeprefix("db=")) if is_socket else _service_and_database(topology, path)
        return cls(
            topology,
            tls,
            () if is_socket else tuple(_host(server, _DEFAULT_PORTS[topology]) for server in servers.split(",")),
            slash + path if is_socket else "",
            service,
            int(database or 0),
            unquote(username) or None,
            unquote(password) or None,
            f"{scheme}://{servers}{slash}{path}",
        )


def _service_and_database(topology: Topology, path: str) -> tuple[str, str]:
    service, slash, database = path.strip("/").partition("/") if topology == "sentinel" else ("", "", path.strip("/"))
    if topology == "sentinel" and not service:
        raise ValueError("`url` must name the master's service, like redis+sentinel://host1,host2/mymaster/0")
    if topology == "cluster" and database not in ("", "0"):
        raise ValueError("`url` of a cluster must not name a database; a cluster has only database 0")
    if (database or slash) and not database.isdigit():
        raise ValueError("`url` must end in a database number, like redis://127.0.0.1:6379/0")
    return service, database


def _host(server: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{server}")
    if not parts.hostname:
        raise ValueError("`url` must name a host, like redis://127.0.0.1:6379/0")
    return parts.hostname, parts.port or default_port
