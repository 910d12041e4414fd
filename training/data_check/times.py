"""When the rows were shown: instants of any column of times, and counts of those that should not be there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from ranker.errors import DataError
from ranker.schema import FrozenConfig
from training.data_check.config import DataCheckConfig

Floats = NDArray[np.float64]
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


class TimeProfile(FrozenConfig):
    """What the timestamps of all rows say.

    Attributes:
        column: The column they are in.
        num_rows: All rows, whether profiled or not.
        num_null: Rows without a timestamp.
        num_old: Rows before the valid range.
        num_future: Rows after the date, beyond the clocks' tolerance.
        num_of_day: Rows of the date itself.
        first, last: The earliest and the latest instant, ISO 8601 in UTC; None without any.
    """

    column: str
    num_rows: int = Field(ge=0)
    num_null: int = Field(ge=0)
    num_old: int = Field(ge=0)
    num_future: int = Field(ge=0)
    num_of_day: int = Field(ge=0)
    first: str | None
    last: str | None

    def share(self, count: int) -> float:
        """Of all rows; in [0, 1]."""
        return count / self.num_rows if self.num_rows else 0.0


@dataclass(frozen=True, slots=True)
class Calendar:
    """Instants, in seconds since 1970 in UTC, between which rows belong.

    Attributes:
        valid: Where the valid range begins.
        window: Where the rows that are profiled begin; None: all rows are.
        day: Where the date begins.
        end: Where it ends.
        latest: Where the future begins, the clocks' tolerance included.
    """

    valid: float
    window: float | None
    day: float
    end: float
    latest: float

    @classmethod
    def of(cls, day: date, config: DataCheckConfig) -> Calendar:
        """The instants for one date."""
        zone = ZoneInfo(config.timezone)

        def midnight(days: int) -> float:
            return datetime.combine(day + timedelta(days=days), time.min, zone).timestamp()

        return cls(
            valid=midnight(-config.max_age_days),
            window=None if config.window_days is None else midnight(1 - config.window_days),
            day=midnight(0),
            end=midnight(1),
            latest=midnight(1) + config.clock_tolerance_seconds,
        )


class TimeCounter:
    """Counts the rows of a stream by when they were shown."""

    def __init__(self, column: str, calendar: Calendar) -> None:
        self._column = column
        self._calendar = calendar
        self._counts = {"num_rows": 0, "num_null": 0, "num_old": 0, "num_future": 0, "num_of_day": 0}
        self._first, self._last = np.inf, -np.inf

    def add(self, seconds: Floats) -> None:
        """Count some rows; NaN where there is no timestamp."""
        calendar = self._calendar
        found = {
            "num_rows": len(seconds),
            "num_null": np.isnan(seconds).sum(),
            "num_old": (seconds < calendar.valid).sum(),
            "num_future": (seconds >= calendar.latest).sum(),
            "num_of_day": ((seconds >= calendar.day) & (seconds < calendar.end)).sum(),
        }
        for name, count in found.items():
            self._counts[name] += int(count)
        if found["num_null"] < len(seconds):
            self._first = min(self._first, float(np.nanmin(seconds)))
            self._last = max(self._last, float(np.nanmax(seconds)))

    def profile(self) -> TimeProfile:
        """What was counted."""
        return TimeProfile(column=self._column, **self._counts, first=_iso(self._first), last=_iso(self._last))


def known_unit(kind: pa.DataType, config: DataCheckConfig) -> bool:
    """Whether values of that type are instants: timestamps and dates are, numbers if the config names their unit."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind)) or config.timestamp_unit is not None


def instants(column: str, array: pa.Array, config: DataCheckConfig) -> Floats:
    """Seconds since 1970 in UTC, NaN for null. Timestamps without a zone, and dates, are in UTC.

    Raises:
        DataError: The column holds neither timestamps, nor dates, nor numbers.
    """
    kind = array.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = array.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return _numbers(micros) / 1e6
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise DataError(f"timestamp column '{column}' must be a timestamp, a date or a number, got {kind}; convert it")
    return _numbers(array) / _PER_SECOND[config.timestamp_unit or "s"]


def _numbers(array: pa.Array) -> Floats:
    values: NDArray[Any] = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _iso(seconds: float) -> str | None:
    """To the second; instants beyond what a clock can say are None."""
    return str(np.datetime64(int(seconds), "s")) if abs(seconds) < 1e15 else None
