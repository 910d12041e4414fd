"""Looking after whole views."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import typer

from feature_store.base import FeatureStore
from feature_store.commands.options import AnyViewOption, ColumnsOption, EventTimeOption, StoreOption, names
from feature_store.commands.session import run
from feature_store.errors import InvalidInput
from feature_store.parquet import ParquetSource
from feature_store.verify import Verified, verify


def stats(store: StoreOption, view: AnyViewOption = None) -> None:
    """Print what the views hold, as one line of JSON per view. Reads every row.

    Examples:

        ranker-features stats --store lmdb:data/features

        ranker-features stats --store redis://cache:6379/0 --view item
    """

    async def work(features: FeatureStore) -> list[dict[str, Any]]:
        found = [await features.stats(name) async for name in _views(features, view)]
        return [
            {**one._asdict(), "schema": {column.name: column.type for column in one.schema.columns}} for one in found
        ]

    for line in run(store, work):
        typer.echo(json.dumps(line, ensure_ascii=False))


def verify_command(
    store: StoreOption,
    view: AnyViewOption = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Parquet file, or folder of them, whose rows the view must hold; repeatable."),
    ] = None,
    key: Annotated[str | None, typer.Option("--key", help="Column of the entity ids in those files.")] = None,
    event_time: EventTimeOption = None,
    columns: ColumnsOption = None,
) -> None:
    """Read every row and check that it is whole and fits its schema; print one line of JSON per view.

    Ends with code 1 if anything is wrong, which `faults` then lists.

    Examples:

        ranker-features verify --store lmdb:data/features

        ranker-features verify --store redis://cache:6379/0 --view item --against items.parquet --key item_id
    """

    async def work(features: FeatureStore) -> list[Verified]:
        source = _source(against, view, key, event_time, columns)
        return [await verify(features, name, source) async for name in _views(features, view)]

    found = run(store, work)
    for one in found:
        typer.echo(json.dumps(one._asdict(), ensure_ascii=False))
    if any(one.num_faults for one in found):
        raise typer.Exit(1)


def sweep(
    store: StoreOption,
    view: AnyViewOption = None,
    older_schemas: Annotated[
        bool, typer.Option("--older-schemas", help="Remove rows of earlier schemas of the view, too.")
    ] = False,
) -> None:
    """Remove rows that expired. Writes do so by and by; this does it now.

    Examples:

        ranker-features sweep --store lmdb:data/features
    """

    async def work(features: FeatureStore) -> dict[str, int]:
        return {name: await features.sweep(name, older_schemas=older_schemas) async for name in _views(features, view)}

    for name, num_removed in run(store, work).items():
        typer.echo(f"view '{name}': {num_removed:,} rows removed")


async def _views(features: FeatureStore, view: str | None) -> AsyncIterator[str]:
    for name in await features.views() if view is None else (view,):
        yield name


def _source(
    paths: list[Path] | None, view: str | None, key: str | None, event_time: str | None, columns: str | None
) -> ParquetSource | None:
    if not paths:
        return None
    if view is None or key is None:
        raise InvalidInput("`--against` needs `--view` and `--key`: which view holds the files' rows, and their ids")
    return ParquetSource(paths, view, key, event_time, names(columns))
