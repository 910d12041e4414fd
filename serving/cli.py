"""`ranker-serve`: run the server, or print its OpenAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from feature_store import InvalidInput, StoreConfig, parse_store
from serving import logs
from serving.app import create_app
from serving.bench.command import bench
from serving.policies import PolicyStoreConfig, RedisPolicyStore, SQLitePolicyStore
from serving.server import Stopping, bind
from serving.settings import Settings
from serving.workers import serve

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Rank candidates over HTTP.")
app.command()(bench)


@app.command(no_args_is_help=False)
def run(
    registry: Annotated[Path | None, typer.Option(help="Folder of published bundles. [RANKER_REGISTRY]")] = None,
    store: Annotated[
        str | None, typer.Option(help="Feature store: lmdb:PATH or redis://HOST:PORT/DB. [RANKER_STORE__*]")
    ] = None,
    policies: Annotated[
        str | None, typer.Option(help="Policy store: sqlite:PATH or redis://HOST:PORT/DB. [RANKER_POLICIES__*]")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
    workers: Annotated[
        int,
        typer.Option(
            min=1, max=1024, envvar="RANKER_WORKERS", help="Processes that serve: one per core, less what else runs."
        ),
    ] = 1,
    drain_seconds: Annotated[
        int,
        typer.Option(
            min=1, envvar="RANKER_DRAIN_SECONDS", help="How long a stopping server waits for what it has accepted."
        ),
    ] = 30,
    drain_delay_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            envvar="RANKER_DRAIN_DELAY_SECONDS",
            help="How long before that it goes on accepting, not ready, for load balancers to notice.",
        ),
    ] = 0.0,
) -> None:
    """Serve rankings until SIGTERM or Ctrl-C. Options override the RANKER_* environment variables.

    Examples:

        ranker-serve run --registry registry --store lmdb:features --port 8000 --workers 4

        RANKER_ADMIN_TOKEN=secret ranker-serve run --registry registry --store redis://localhost:6379/0
    """
    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter(f"must be debug, info, warning or error, got '{log_level}'", param_hint="--log-level")
    options: dict[str, Any] = {
        "registry": registry,
        "store": _store(store),
        "policies": _policies(policies),
    }
    settings = _settings({name: value for name, value in options.items() if value is not None})
    logs.configure(log_level)
    try:
        listener = bind(host, port)
    except OSError as exc:
        _fail(f"cannot listen on {host}, port {port}: {exc}; choose others with --host and --port")
    try:
        with listener:
            code = serve(settings, listener, Stopping(drain_delay_seconds, drain_seconds), workers)
    except OSError as exc:
        _fail(f"the folder of the request log cannot be made: {exc}; correct RANKER_REQUEST_LOG__PATH")
    raise typer.Exit(code)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document; needs no registry and no store.

    Example:

        ranker-serve openapi > openapi.json
    """
    settings = Settings(registry=Path("registry"), store=parse_store("lmdb:features"))
    typer.echo(json.dumps(create_app(settings).openapi(), indent=2))


def _store(text: str | None) -> StoreConfig | None:
    try:
        return None if text is None else parse_store(text)
    except InvalidInput as exc:
        raise typer.BadParameter(str(exc), param_hint="--store") from exc


def _policies(text: str | None) -> PolicyStoreConfig | None:
    """`sqlite:PATH` or a Redis URL."""
    if text is None:
        return None
    kind, _, rest = text.partition(":")
    if kind == "sqlite" and rest:
        return SQLitePolicyStore.Config(path=Path(rest))
    if kind in ("redis", "rediss", "unix") and rest:
        return RedisPolicyStore.Config(url=text)
    raise typer.BadParameter(f"must be sqlite:PATH or redis://HOST:PORT/DB, got '{kind}'", param_hint="--policies")


def _settings(options: dict[str, Any]) -> Settings:
    """Settings of options and environment; an option replaces all that the environment says about the same thing."""
    try:
        return Settings(**options)
    except ValidationError as exc:
        faults = [f"{_variable(fault['loc'])}: {fault['msg']}" for fault in exc.errors()]
        _fail("settings are incomplete or wrong: " + "; ".join(faults) + "; see ranker-serve run --help")


def _variable(place: tuple[int | str, ...]) -> str:
    return "RANKER_" + "__".join(str(part).upper() for part in place)


def _fail(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)


if __name__ == "__main__":
    app()
