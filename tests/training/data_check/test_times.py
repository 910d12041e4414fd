"""Where in time rows lie, whatever the column holds."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ranker.errors import DataError
from training.data_check.config import DataCheckConfig
from training.data_check.times import Calendar, TimeCounter, instants, known_unit

DAY = dt.date(2026, 3, 29)  # summer time begins in Madrid
NOON = dt.datetime(2026, 3, 29, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("array", "settings"),
    [
        (pa.array([NOON, None], pa.timestamp("ns", "UTC")), {}),
        (pa.array([NOON, None], pa.timestamp("ms", "Europe/Madrid")), {}),
        (pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("s")), {}),
        (pa.array([int(NOON.timestamp()), None]), {"timestamp_unit": "s"}),
        (pa.array([NOON.timestamp() * 1e6, None]), {"timestamp_unit": "us"}),
        (pa.array([NOON.timestamp() * 1e3, float("nan")]), {"timestamp_unit": "ms"}),
        (pa.array([int(NOON.timestamp()) * 10**9, None]), {"timestamp_unit": "ns"}),
    ],
)
def test_one_instant_in_many_types(array: pa.Array, settings: dict[str, Any]) -> None:
    config = DataCheckConfig.model_validate(settings)
    assert known_unit(array.type, config)
    found = instants("time", array, config)
    assert found[0] == NOON.timestamp()
    assert np.isnan(found[1])


def test_dates_are_midnights_and_numbers_need_a_unit() -> None:
    config = DataCheckConfig()
    assert instants("time", pa.array([DAY]), config)[0] == NOON.timestamp() - 12 * 3600
    assert not known_unit(pa.int64(), config)
    with pytest.raises(DataError, match="'time' must be a timestamp, a date or a number, got string"):
        instants("time", pa.array(["noon"]), config)


def test_days_begin_at_midnight_in_their_zone() -> None:
    there = Calendar.of(DAY, DataCheckConfig(timezone="Europe/Madrid", window_days=3))
    assert there.end - there.day == 23 * 3600
    assert NOON.timestamp() - there.day == 13 * 3600
    assert there.window is not None
    assert there.day - there.window == 2 * 24 * 3600
    assert Calendar.of(DAY, DataCheckConfig()).window is None


def test_every_row_is_counted_where_it_lies() -> None:
    config = DataCheckConfig(max_age_days=5, clock_tolerance_seconds=60)
    calendar = Calendar.of(DAY, config)
    counter = TimeCounter("time", calendar)
    counter.add(np.array([np.nan, calendar.valid - 1, calendar.valid, calendar.day - 1]))
    counter.add(np.array([np.nan]))
    counter.add(np.array([calendar.day, calendar.end - 1, calendar.end, calendar.latest - 1, calendar.latest]))
    found = counter.profile()
    assert found.model_dump() == {
        "column": "time",
        "num_rows": 10,
        "num_null": 2,
        "num_old": 1,
        "num_future": 1,
        "num_of_day": 2,
        "first": "2026-03-23T23:59:59",
        "last": "2026-03-30T00:01:00",
    }
    assert found.share(found.num_null) == 0.2


def test_no_rows_and_impossible_ones() -> None:
    counter = TimeCounter("time", Calendar.of(DAY, DataCheckConfig()))
    assert counter.profile().first is None
    assert counter.profile().share(0) == 0
    counter.add(np.array([1e300]))
    assert counter.profile().num_future == 1
    assert counter.profile().last is None
