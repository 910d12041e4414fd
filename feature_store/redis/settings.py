"""Settings of the Redis store."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from feature_store.redis.address import Address


class RedisSettings(BaseModel):
    """Where the servers are and how long to wait for them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    backend: Literal["redis"] = "redis"
    url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,  # may hold a password
        description="redis://HOST:PORT/DB, unix://PATH, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or "
        "redis+cluster://HOST:PORT,HOST:PORT; rediss for TLS; user and password may be in it.",
    )
    username: str | None = Field(None, description="Instead of one in the URL.")
    password: SecretStr | None = Field(None, description="Instead of one in the URL; no log shows it.")
    sentinel_username: str | None = Field(None, description="Of the Sentinels; null: they ask for none.")
    sentinel_password: SecretStr | None = Field(None, description="Of the Sentinels; null: they ask for none.")
    key_prefix: str = Field("ranker", pattern=r"^[A-Za-z0-9_.-]{1,64}$", description="Keeps our keys from others'.")
    timeout_seconds: float = Field(1.0, gt=0, description="Longest wait for one answer, or for a connection.")
    connect_timeout_seconds: float = Field(1.0, gt=0, description="Longest wait for a new connection.")
    max_connections: int = Field(
        32, ge=1, description="Per process, and per node of a cluster; requests beyond wait for a free one."
    )
    num_retries: int = Field(
        1, ge=0, description="Tries after the first, when a connection breaks; at least one in a cluster, to look anew."
    )
    tls_ca_file: Path | None = Field(None, description="Certificates to trust for TLS; null: the system's.")
    tls_cert_file: Path | None = Field(None, description="Our own certificate, for servers that ask for one.")
    tls_key_file: Path | None = Field(None, description="Its private key; null: in the same file.")
    tls_check_hostname: bool = Field(True, description="Whether a certificate must name the host it comes from.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        Address.parse(url)
        return url

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.password is not None and self.servers.password is not None:
            raise ValueError("`password` and a password in `url` must not both be given; drop one")
        if self.username is not None and self.servers.username is not None:
            raise ValueError("`username` and a user in `url` must not both be given; drop one")
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
            if getattr(self, name) is not None and not self.servers.tls:
                raise ValueError(
                    f"`{name}` needs a `url` that starts with rediss://, or rediss+sentinel:// or rediss+cluster://"
                )
        if self.tls_key_file is not None and self.tls_cert_file is None:
            raise ValueError("`tls_key_file` needs `tls_cert_file`, the certificate that it belongs to")
        if self.servers.topology != "sentinel" and (self.sentinel_username or self.sentinel_password):
            raise ValueError("`sentinel_username` and `sentinel_password` need a `url` like redis+sentinel://...")
        return self

    @property
    def servers(self) -> Address:
        """Where the servers are."""
        return Address.parse(self.url)

    @property
    def address(self) -> str:
        """The URL without user and password."""
        return self.servers.text
