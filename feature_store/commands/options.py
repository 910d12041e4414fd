"""Options that several commands share."""

from __future__ import annotations

import math
from typing import Annotated

import typer


def _positive(seconds: float | None) -> float | None:
    if seconds is not None and not 0 < seconds < math.inf:
        raise typer.BadParameter(f"must be greater than 0, got {seconds}; leave it out for no limit")
    return seconds


StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="RANKER_FEATURES_STORE",
        help="lmdb:PATH, redis://HOST:PORT/DB, redis+sentinel://HOST,HOST/SERVICE/DB, redis+cluster://HOST,HOST, or "
        "rediss... for TLS; fields follow as ?key_prefix=shop. "
        "Give a store with a password by the environment variable, where other users cannot see it.",
    ),
]
ViewOption = Annotated[str, typer.Option("--view", help="Name of the view; the server reads `item` and `user`.")]
AnyViewOption = Annotated[str | None, typer.Option("--view", help="Default: every view.")]
KeyOption = Annotated[str, typer.Option("--key", help="Column of the entity ids: strings or integers.")]
EventTimeOption = Annotated[
    str | None, typer.Option("--event-time", help="Column that says which of an entity's rows is the latest.")
]
ColumnsOption = Annotated[
    str | None, typer.Option("--columns", help="Feature columns to take, with commas; default: all but the key.")
]
RowTimeOption = Annotated[float | None, typer.Option("--event-time", help="Unix seconds; default: none.")]
KeptRowTimeOption = Annotated[float | None, typer.Option("--event-time", help="Unix seconds; default: as it is.")]
TtlOption = Annotated[
    float | None,
    typer.Option(
        "--ttl-seconds", callback=_positive, help="Time after which the rows count as missing; default: never."
    ),
]
KeptTtlOption = Annotated[
    float | None,
    typer.Option(
        "--ttl-seconds", callback=_positive, help="Time after which the row counts as missing; default: as it is."
    ),
]


def names(columns: str | None) -> list[str] | None:
    """The names in the text of `--columns`."""
    return None if columns is None else [name.strip() for name in columns.split(",")]
