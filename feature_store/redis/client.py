"""redis-py's client for each kind of address."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff

from feature_store.redis.settings import RedisSettings


class Client:
    """A client of redis-py and what must be closed with it.

    Args:
        config: Settings of the store.

    Attributes:
        redis: A `Redis` or a `RedisCluster`; it connects on first use.
    """

    def __init__(self, config: RedisSettings) -> None:
        self.redis: Any  # redis-py types its answers as sync-or-async unions
        self._sentinels: list[Redis] = []
        address = config.servers
        options = {**_options(config), **_login(config.username or address.username, config.password, address.password)}
        if address.topology == "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            self.redis = RedisCluster(startup_nodes=nodes, **options)
        elif address.topology == "sentinel":
            sentinel = Sentinel(  # type: ignore[no-untyped-call]
                address.hosts,
                sentinel_kwargs={**_options(config), **_login(config.sentinel_username, config.sentinel_password)},
                **options,
            )
            self._sentinels = sentinel.sentinels
            self.redis = sentinel.master_for(address.service, db=address.database)
        elif address.socket:
            self.redis = Redis(unix_socket_path=address.socket, db=address.database, **options)
        else:
            ((host, port),) = address.hosts
            self.redis = Redis(host=host, port=port, db=address.database, **options)

    async def close(self) -> None:
        """Close all connections; the client may be used again, and then connects anew."""
        await self.redis.aclose()
        for sentinel in self._sentinels:
            await sentinel.aclose()


def _options(config: RedisSettings) -> dict[str, Any]:
    # redis-py looks for the masters of a cluster anew when it tries again, and only then.
    num_retries = max(config.num_retries, config.servers.topology == "cluster")
    options: dict[str, Any] = {
        "max_connections": config.max_connections,
        "socket_timeout": config.timeout_seconds,
        "socket_connect_timeout": config.connect_timeout_seconds,
        "retry": Retry(ExponentialBackoff(cap=0.1, base=0.01), num_retries),
    }
    if config.servers.tls:
        options |= {"ssl": True, "ssl_check_hostname": config.tls_check_hostname}
        files = {"ssl_ca_certs": config.tls_ca_file, "ssl_certfile": config.tls_cert_file}
        files["ssl_keyfile"] = config.tls_key_file
        options |= {name: str(path) for name, path in files.items() if path is not None}
    return options


def _login(username: str | None, password: SecretStr | None, or_else: str | None = None) -> dict[str, str]:
    secret = or_else if password is None else password.get_secret_value()
    return {key: value for key, value in (("username", username), ("password", secret)) if value is not None}
