"""Parquet into a store and out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from feature_store.base import FeatureStore
from feature_store.commands.options import (
    ColumnsOption,
    EventTimeOption,
    KeyOption,
    StoreOption,
    TtlOption,
    ViewOption,
    names,
)
from feature_store.commands.progress import shown
from feature_store.commands.session import run
from feature_store.export import export
from feature_store.materialize import Progress, materialize


def import_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PARQUET...", help="Files, or folders of *.parquet files.")],
    store: StoreOption,
    view: ViewOption,
    key: KeyOption,
    event_time: EventTimeOption = None,
    columns: ColumnsOption = None,
    replace_schema: Annotated[
        bool, typer.Option("--replace-schema", help="Let the columns differ from those that the view has now.")
    ] = False,
    ttl_seconds: TtlOption = None,
) -> None:
    """Write the latest row of each entity in Parquet files into a view.

    Everything is read and checked first: bad input changes nothing. A server that reads the store sees each row
    change at once and never waits. `import` and `materialize` are the same command.

    Examples:

        ranker-features materialize --store lmdb:data/features --view item --key item_id items.parquet

        ranker-features import --store lmdb:data/features --view item --key item_id \\
            --columns price,category,tags --replace-schema items/

        ranker-features materialize --store redis://cache:6379/0 --view user --key user_id \\
            --event-time updated_at --ttl-seconds 604800 exports/users/
    """

    async def work(features: FeatureStore, on_progress: Callable[[Progress], None]) -> str:
        done = await materialize(
            features,
            view,
            paths,
            key=key,
            event_time=event_time,
            columns=names(columns),
            replace_schema=replace_schema,
            ttl_seconds=ttl_seconds,
            on_progress=on_progress,
        )
        return (
            f"view '{view}': {done.num_rows_written:,} entities written from {done.num_rows_read:,} rows, "
            f"{len(done.schema.columns)} columns"
        )

    with shown() as on_progress:
        message = run(store, lambda features: work(features, on_progress))
    typer.echo(message)


def export_command(
    path: Annotated[Path, typer.Argument(metavar="PARQUET", help="File to write; it appears once it is complete.")],
    store: StoreOption,
    view: ViewOption,
    key: Annotated[str, typer.Option("--key", help="Name of the column of entity ids.")] = "id",
    event_time: Annotated[
        str | None, typer.Option("--event-time", help="Name of a column of event times, unix seconds; default: none.")
    ] = None,
) -> None:
    """Write all rows of a view into one Parquet file, with the view's current columns.

    Examples:

        ranker-features export --store lmdb:data/features --view item --key item_id items.parquet
    """
    num_rows = run(store, lambda features: export(features, view, path, key=key, event_time=event_time))
    typer.echo(f"view '{view}': {num_rows:,} rows written to '{path}'")
