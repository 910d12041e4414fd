"""`ranker-features`: fill a feature store from Parquet and look into it."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

from feature_store.base import FeatureStore
from feature_store.config import parse_store
from feature_store.embedded import EmbeddedStore
from feature_store.errors import InvalidRow, StoreError
from feature_store.materialize import Progress, materialize
from feature_store.redis import RedisStore

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a traceback with local values could show a password
    help="Features by entity id: write them from Parquet, look at them.",
)

# A command line waits longer than a server may.
_PATIENCE_SECONDS = 10.0

_Result = TypeVar("_Result")


def _positive(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise typer.BadParameter(f"must be greater than 0, got {seconds}; leave it out for no limit")
    return seconds


StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="RANKER_FEATURES_STORE",
        help="lmdb:PATH, redis://HOST:PORT/DB, rediss:// for TLS; fields follow as ?key_prefix=shop. "
        "Give a store with a password by the environment variable, where other users cannot see it.",
    ),
]
ViewOption = Annotated[str, typer.Option("--view", help="Name of the view; the server reads `item` and `user`.")]
TtlOption = Annotated[
    float | None,
    typer.Option(
        "--ttl-seconds", callback=_positive, help="Time after which the rows count as missing; default: never."
    ),
]


@app.command(name="materialize")
def materialize_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PARQUET...", help="Files, or folders of *.parquet files.")],
    store: StoreOption,
    view: ViewOption,
    key: Annotated[str, typer.Option("--key", help="Column of the entity ids: strings or integers.")],
    event_time: Annotated[
        str | None, typer.Option("--event-time", help="Column that says which of an entity's rows is the latest.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", help="Feature columns to take, with commas; default: all but the key.")
    ] = None,
    replace_schema: Annotated[
        bool, typer.Option("--replace-schema", help="Let the columns differ from those that the view has now.")
    ] = False,
    ttl_seconds: TtlOption = None,
) -> None:
    """Write the latest row of each entity in Parquet files into a view.

    Everything is read and checked first: bad input changes nothing. A server that reads the store sees each row
    change at once and never waits.

    Examples:

        ranker-features materialize --store lmdb:data/features --view item --key item_id items.parquet

        ranker-features materialize --store redis://cache:6379/0 --view user --key user_id \\
            --event-time updated_at --ttl-seconds 604800 exports/users/

        ranker-features materialize --store lmdb:data/features --view item --key item_id \\
            --columns price,category,tags --replace-schema items/
    """

    async def work(features: FeatureStore, on_progress: Callable[[Progress], None]) -> str:
        done = await materialize(
            features,
            view,
            paths,
            key=key,
            event_time=event_time,
            columns=None if columns is None else [name.strip() for name in columns.split(",")],
            replace_schema=replace_schema,
            ttl_seconds=ttl_seconds,
            on_progress=on_progress,
        )
        return (
            f"view '{view}': {done.num_rows_written:,} entities written from {done.num_rows_read:,} rows, "
            f"{len(done.schema.columns)} columns"
        )

    with _progress() as on_progress:
        message = _run(store, lambda features: work(features, on_progress))
    typer.echo(message)


@app.command()
def get(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Entity ids.")],
    store: StoreOption,
    view: ViewOption,
) -> None:
    """Print rows as JSON, one line per id, in the order of the ids. A missing row has `"values": null`.

    Examples:

        ranker-features get --store lmdb:data/features --view item i1 i7

        ranker-features get --store redis://cache:6379/0 --view user 42
    """
    rows = _run(store, lambda features: features.get_many(view, ids))
    for entity_id, row in zip(ids, rows, strict=True):
        values, event_time = (None, None) if row is None else (row.values, row.event_time)
        typer.echo(json.dumps({"id": entity_id, "values": values, "event_time": event_time}, ensure_ascii=False))


@app.command()
def put(
    entity_id: Annotated[str, typer.Argument(metavar="ID", help="Entity id.")],
    values: Annotated[str, typer.Argument(metavar="JSON", help="Values by column. Columns not named become null.")],
    store: StoreOption,
    view: ViewOption,
    event_time: Annotated[float | None, typer.Option("--event-time", help="Unix seconds; default: none.")] = None,
    ttl_seconds: TtlOption = None,
) -> None:
    """Write one whole row into a view that is there.

    Examples:

        ranker-features put --store lmdb:data/features --view item i9 '{"price": 12.5, "tags": ["new"]}'
    """

    async def work(features: FeatureStore) -> int:
        return await features.put_many(view, [(entity_id, _json_object(values), event_time)], ttl_seconds=ttl_seconds)

    _run(store, work)
    typer.echo(f"view '{view}': entity '{entity_id}' written")


@app.command()
def stats(
    store: StoreOption,
    view: Annotated[str | None, typer.Option("--view", help="Default: every view.")] = None,
) -> None:
    """Print what the views hold, as one line of JSON per view. Reads the header of every row.

    Examples:

        ranker-features stats --store lmdb:data/features

        ranker-features stats --store redis://cache:6379/0 --view item
    """

    async def work(features: FeatureStore) -> list[dict[str, Any]]:
        names = await features.views() if view is None else (view,)
        found = [await features.stats(name) for name in names]
        return [
            {**one._asdict(), "schema": {column.name: column.type for column in one.schema.columns}} for one in found
        ]

    for line in _run(store, work):
        typer.echo(json.dumps(line, ensure_ascii=False))


def _run(store: str, work: Callable[[FeatureStore], Coroutine[Any, Any, _Result]]) -> _Result:
    """Do some work with a store; what the user can mend ends the program with code 2 and a message."""

    async def connected() -> _Result:
        async with _open(store) as features:
            return await work(features)

    try:
        return asyncio.run(connected())
    except StoreError as exc:
        typer.echo(f"Error: {exc}", err=True)
        raise typer.Exit(2) from exc


def _open(store: str) -> FeatureStore:
    config = parse_store(store)
    if isinstance(config, EmbeddedStore.Config):
        return config.build()
    patient: dict[str, Any] = {
        name: _PATIENCE_SECONDS
        for name in ("timeout_seconds", "connect_timeout_seconds")
        if name not in config.model_fields_set
    }
    return RedisStore.Config(**{**dict(config), **patient}).build()


def _json_object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidRow(f"JSON must be an object of values by column, got {text!r}: {exc}; quote it") from exc
    if not isinstance(values, dict):
        raise InvalidRow(f"JSON must be an object of values by column, got {text!r}; write it like '{{\"price\": 1}}'")
    return values


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, a line per tenth elsewhere; both on standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=console) as bar:
        tasks = {phase: bar.add_task(f"{phase} rows", total=None) for phase in ("checking", "writing")}
        yield lambda now: bar.update(tasks[now.phase], completed=now.num_rows, total=now.total_rows)


def _lines() -> Callable[[Progress], None]:
    told: dict[str, int] = {}

    def tell(now: Progress) -> None:
        tenth = 10 * now.num_rows // now.total_rows
        if tenth > told.get(now.phase, 0):
            told[now.phase] = tenth
            typer.echo(f"{now.phase}: {now.num_rows:,} of {now.total_rows:,} rows", err=True)

    return tell


if __name__ == "__main__":
    app()
