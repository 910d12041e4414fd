"""Fresh features for the server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from feature_store import materialize as write_view, parse_store
from training.nightly.config import FeatureView
from training.nightly.first import on_first
from training.nightly.night import Night


def materialize(night: Night) -> dict[str, Any]:
    """Fill the views that the experiment names.

    Raises:
        StoreError: The store is down, or the files do not fit; what is live stays live, and a second run repeats this.
    """
    return on_first(lambda: _materialize(night))


def _materialize(night: Night) -> dict[str, Any]:
    if night.paths.store is None or not night.config.nightly.features:
        return {}
    return {view.view: asyncio.run(_write(night, view)) for view in night.config.nightly.features}


async def _write(night: Night, view: FeatureView) -> int:
    assert night.paths.store is not None
    path = Path(view.path.replace("{date}", night.day.isoformat()))
    async with parse_store(night.paths.store).build() as store:
        done = await write_view(
            store, view.view, [path], key=view.key, event_time=view.event_time, ttl_seconds=view.ttl_seconds
        )
    night.log.event("materialized", f"view '{view.view}': {done.num_rows_written:,} entities", view=view.view)
    return done.num_rows_written
