"""TLS for real: redis behind an end of TLS that asks for our certificate, and certificates made for the test."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.asyncio import SSLConnection

from feature_store import Column, RedisStore, StoreUnavailable, ViewSchema

ITEM = ViewSchema("item", (Column("n", "int"),))


class Authority:
    """Signs certificates.

    Args:
        folder: Where keys and certificates are written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "ca.pem"
        _openssl("req", "-x509", "-nodes", *_KEY, "-subj", "/CN=authority", "-out", self.certificate, *self._key("ca"))

    def sign(self, name: str, *, host: str) -> tuple[Path, Path]:
        """A certificate for a host, and its key."""
        request, certificate, extensions = (self._folder / f"{name}.{end}" for end in ("csr", "pem", "ext"))
        extensions.write_text(f"subjectAltName=IP:{host}\n")
        _openssl("req", "-new", "-nodes", *_KEY, "-subj", f"/CN={name}", "-out", request, *self._key(name))
        signed = ("-CA", self.certificate, "-CAkey", self._folder / "ca.key", "-set_serial", "7")
        _openssl("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", certificate)
        return certificate, self._folder / f"{name}.key"

    def _key(self, name: str) -> tuple[str, Path]:
        return "-keyout", self._folder / f"{name}.key"


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@asynccontextmanager
async def end_of_tls(redis_url: str, authority: Authority, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A port of the loopback interface where Redis speaks TLS, to those with a certificate of the authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.load_cert_chain(*authority.sign("server", host=host))
    context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", urlsplit(redis_url).port)
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:  # the client did not like us, or we not it
        pass
    finally:
        writer.close()


def store_at(port: int, **options: Any) -> RedisStore:
    url = f"rediss://127.0.0.1:{port}/0"
    return RedisStore.Config(url=url, key_prefix="tls", num_retries=0, timeout_seconds=30, **options).build()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that the server trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


async def test_both_ends_show_certificates(authority: Authority, redis_url: str) -> None:
    certificate, key = authority.sign("client", host="10.0.0.1")
    ours = {"tls_ca_file": authority.certificate, "tls_cert_file": certificate, "tls_key_file": key}
    async with end_of_tls(redis_url, authority) as port, store_at(port, **ours) as store:
        await store.create_view(ITEM)
        await store.put_many("item", [(n, {"n": n}, None) for n in range(300)])
        assert [row and row.values["n"] for row in await store.get_many("item", range(300))] == list(range(300))


async def test_what_cannot_be_trusted_is_refused(authority: Authority, redis_url: str, tmp_path: Path) -> None:
    certificate, key = authority.sign("client", host="10.0.0.1")
    ours = {"tls_cert_file": certificate, "tls_key_file": key}
    async with end_of_tls(redis_url, authority, host="10.9.9.9") as port:
        for options in (
            {**ours, "tls_ca_file": authority.certificate},  # of another host
            ours,  # of an authority that the system does not know
            {**ours, "tls_ca_file": Authority(tmp_path).certificate},  # nor do we
            {"tls_ca_file": authority.certificate, "tls_check_hostname": False},  # and it does not know us
        ):
            async with store_at(port, **options) as store:
                with pytest.raises(StoreUnavailable, match=r"Redis at rediss://127\.0\.0\.1"):
                    await store.ping()
        async with store_at(port, **ours, tls_ca_file=authority.certificate, tls_check_hostname=False) as store:
            await store.ping()


@pytest.mark.parametrize("kind", ["", "+sentinel", "+cluster"])
async def test_every_kind_of_address_can_use_it(kind: str, tmp_path: Path) -> None:
    files: dict[str, Any] = {name: tmp_path / name for name in ("tls_ca_file", "tls_cert_file", "tls_key_file")}
    service = "/main" if kind == "+sentinel" else ""
    store = RedisStore.Config(url=f"rediss{kind}://cache:6380{service}", **files).build()
    if kind != "+cluster":
        pool = store._redis.connection_pool
        assert issubclass(pool.connection_class, SSLConnection)
        assert pool.connection_kwargs["ssl_ca_certs"] == str(files["tls_ca_file"])
    else:
        assert store._redis.nodes_manager.connection_kwargs["connection_class"] is SSLConnection
    with pytest.raises(StoreUnavailable):  # the files are not there: no connection without them
        await store.ping()
    await store.close()
