"""Where a night reads and writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from training.nightly.config import NightlyConfig
from training.source import Source


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a night reads and writes.

    Attributes:
        data: Impressions: a Parquet file, a folder or a URL; `{date}` is replaced by the night's date.
        runs: One folder per night goes in here.
        registry: Published bundles.
        store: The feature store to fill, as `feature_store.parse_store` reads it; None: none.
        metrics: Prometheus textfile to write; None: none.
    """

    data: str
    runs: Path
    registry: Path
    store: str | None = None
    metrics: Path | None = None

    def source(self, day: date, config: NightlyConfig) -> Source:
        """The data's files of the window that ends on that day.

        Raises:
            DataError: There are none, or they cannot be reached.
        """
        found = Source.find(self.data.replace("{date}", day.isoformat()))
        return found if config.window_days is None else found.window(config.partition, day, config.window_days)
