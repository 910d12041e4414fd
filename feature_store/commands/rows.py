"""Some rows, by id."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from feature_store.base import FeatureStore
from feature_store.commands.options import (
    KeptRowTimeOption,
    KeptTtlOption,
    RowTimeOption,
    StoreOption,
    TtlOption,
    ViewOption,
)
from feature_store.commands.session import run
from feature_store.errors import InvalidRow
from feature_store.rows import FeatureRow

_Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Entity ids.")]
_Id = Annotated[str, typer.Argument(metavar="ID", help="Entity id.")]


def get(ids: _Ids, store: StoreOption, view: ViewOption) -> None:
    """Print rows as JSON, one line per id, in the order of the ids. A missing row has `"values": null`.

    Examples:

        ranker-features get --store lmdb:data/features --view item i1 i7

        ranker-features get --store redis://cache:6379/0 --view user 42
    """
    rows = run(store, lambda features: features.get_many(view, ids))
    for entity_id, row in zip(ids, rows, strict=True):
        found = dict.fromkeys(FeatureRow._fields) if row is None else row._asdict()
        typer.echo(json.dumps({"id": entity_id, **found}, ensure_ascii=False))


def put(
    entity_id: _Id,
    values: Annotated[str, typer.Argument(metavar="JSON", help="Values by column. Columns not named become null.")],
    store: StoreOption,
    view: ViewOption,
    event_time: RowTimeOption = None,
    ttl_seconds: TtlOption = None,
) -> None:
    """Write one whole row into a view that is there.

    Examples:

        ranker-features put --store lmdb:data/features --view item i9 '{"price": 12.5, "tags": ["new"]}'
    """

    async def work(features: FeatureStore) -> int:
        return await features.put_many(view, [(entity_id, _json_object(values), event_time)], ttl_seconds=ttl_seconds)

    run(store, work)
    typer.echo(f"view '{view}': entity '{entity_id}' written")


def update(
    entity_id: _Id,
    values: Annotated[str, typer.Argument(metavar="JSON", help="Values by column. Columns not named stay.")],
    store: StoreOption,
    view: ViewOption,
    event_time: KeptRowTimeOption = None,
    ttl_seconds: KeptTtlOption = None,
) -> None:
    """Change some columns of one row; a row that is not there is made.

    Examples:

        ranker-features update --store lmdb:data/features --view item i9 '{"price": 10}'
    """

    async def work(features: FeatureStore) -> int:
        return await features.update_many(
            view, [(entity_id, _json_object(values), event_time)], ttl_seconds=ttl_seconds
        )

    run(store, work)
    typer.echo(f"view '{view}': entity '{entity_id}' updated")


def delete(ids: _Ids, store: StoreOption, view: ViewOption) -> None:
    """Remove rows; ids without a row are fine.

    Examples:

        ranker-features delete --store lmdb:data/features --view item i1 i7
    """
    num_removed = run(store, lambda features: features.delete_many(view, ids))
    typer.echo(f"view '{view}': {num_removed:,} of {len(ids):,} rows removed")


def _json_object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidRow(f"JSON must be an object of values by column, got {text!r}: {exc}; quote it") from exc
    if not isinstance(values, dict):
        raise InvalidRow(f"JSON must be an object of values by column, got {text!r}; write it like '{{\"price\": 1}}'")
    return values
