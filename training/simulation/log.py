"""The log as a stream of Arrow tables, block by block: memory depends on users and items, not on impressions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from training.simulation.config import SimulationConfig
from training.simulation.exposure import Exposure
from training.simulation.funnel import Funnel
from training.simulation.utility import Impressions, Utility
from training.simulation.world import DEVICES, Ints, Items, Users, names_of, numbered

ROWS_PER_BLOCK = 65_536
PILOT_ROWS = 40_000


@dataclass(frozen=True, slots=True)
class Log:
    """A simulated world, ready to write its log."""

    config: SimulationConfig
    users: pa.Table
    items: pa.Table
    exposure: Exposure
    funnel: Funnel

    @classmethod
    def of(cls, config: SimulationConfig) -> Log:
        """Draw users, items and appeals, and fit the funnel to the base rates."""
        users = Users.draw(config, _stream(config, 0))
        items = Items.draw(config, _stream(config, 1))
        exposure = Exposure.of(config, users, items)
        first = Utility.draw(config, users, items, _stream(config, 2))
        second = Utility.draw(config, users, items, _stream(config, 3))
        funnel = Funnel.fit(config, first, second, _pilot(config, exposure))
        return cls(config, users.table(), items.table(), exposure, funnel)

    @property
    def blocks_per_day(self) -> int:
        """Blocks of at most `ROWS_PER_BLOCK` rows, and of one request at least, that a day is made of."""
        return -(-self.config.requests_per_day // self._requests_per_block)

    @property
    def _requests_per_block(self) -> int:
        return max(1, ROWS_PER_BLOCK // self.config.candidates_per_request)

    def day(self, day: int) -> Iterator[pa.Table]:
        """The blocks of one day, in order of time."""
        return (self.block(day, number) for number in range(self.blocks_per_day))

    def block(self, day: int, number: int) -> pa.Table:
        """One block. It depends on the config, the day and its number alone, not on what was drawn before."""
        rng = _stream(self.config, 5, day, number)
        first = number * self._requests_per_block
        num_requests = min(self._requests_per_block, self.config.requests_per_day - first)
        rows, second = self.exposure.draw(day, first, num_requests, self.config.requests_per_day, rng)
        click, conversion, truth = self.funnel.draw(rows, rng)
        request = day * self.config.requests_per_day + first + np.arange(num_requests)
        return pa.table(
            {
                "request_id": numbered("r", np.repeat(request, self.config.candidates_per_request)),
                "timestamp": self._timestamps(day, second),
                **_columns(self.users.take(pa.array(rows.user))),
                **_columns(self.items.take(pa.array(rows.item))),
                "hour": pa.array(rows.hour, pa.int32()),
                "device": names_of(DEVICES, rows.device),
                "click": click,
                "conversion": conversion,
                "true_ctr": truth.ctr,
                "true_cvr": truth.cvr,
                "true_cvr_if_clicked": truth.cvr_if_clicked,
            }
        )

    def _timestamps(self, day: int, second: Ints) -> pa.Array:
        midnight = datetime.combine(self.config.start_date + timedelta(days=day), datetime.min.time(), UTC)
        return pa.array((int(midnight.timestamp()) + second) * 1000, pa.timestamp("ms", "UTC"))


def _columns(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    return dict(zip(table.column_names, table.columns, strict=True))


def _stream(config: SimulationConfig, *key: int) -> np.random.Generator:
    """The random stream of one purpose: independent of all others, the same in every run."""
    return np.random.default_rng(np.random.SeedSequence(config.seed, spawn_key=key))


def _pilot(config: SimulationConfig, exposure: Exposure) -> Impressions:
    """A sample of impressions from all days."""
    rng = _stream(config, 4)
    requests = max(10, PILOT_ROWS // (config.candidates_per_request * config.num_days))
    days = [exposure.draw(day, 0, requests, requests, rng)[0] for day in range(config.num_days)]
    return Impressions(
        *(np.concatenate([getattr(rows, name) for rows in days]) for name in ("day", "user", "item", "hour", "device"))
    )
