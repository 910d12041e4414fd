"""Every row belongs to one split: by its own word, by whole users, or by time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from ranker.errors import DataError
from ranker.schema import Ids
from training.config import ColumnSplit, SplitConfig, TimeSplit, UserSplit
from training.splits import SPLITS, build_split, split_column

IDS = Ids(user="user", timestamp="time")


def places(config: SplitConfig, values: pa.Array) -> list[int]:
    name = split_column(config, IDS)
    batch = pa.record_batch({name: values})
    half = len(values) // 2
    scan: Iterable[pa.RecordBatch] = [batch.slice(0, half), batch.slice(half)]
    found = build_split(config, IDS, lambda: scan)(batch)
    assert found.dtype == np.int64
    return [int(place) for place in found]


def test_rows_say_where_they_belong() -> None:
    config = ColumnSplit(column="part", train="a", valid="b", test="c")
    assert places(config, pa.array(["a", "c", None, "b", "other", "a"])) == [0, 2, -1, 1, -1, 0]
    assert places(config, pa.array(["b", "a"]).dictionary_encode()) == [1, 0]
    assert places(ColumnSplit(column="part", train="0", valid="1", test="2"), pa.array([2, 0, 1])) == [2, 0, 1]


@settings(deadline=None)
@given(
    users=st.lists(st.integers(0, 200), min_size=1, max_size=80),
    fractions=st.sampled_from([(0.1, 0.1), (0.4, 0.3), (0.05, 0.6)]),
)
def test_whole_users(users: list[int], fractions: tuple[float, float]) -> None:
    config = UserSplit(valid_fraction=fractions[0], test_fraction=fractions[1])
    found = places(config, pa.array(users))
    assert set(found) <= {0, 1, 2}
    assert len({(user, place) for user, place in zip(users, found, strict=True)}) == len(set(users))
    assert places(config, pa.array([str(user) for user in users])) == found  # 5 and "5" are one user
    assert places(config, pa.array(users[::-1])) == found[::-1]


def test_shares_of_users() -> None:
    found = np.bincount(places(UserSplit(valid_fraction=0.2, test_fraction=0.3), pa.array(range(20_000)))) / 20_000
    assert found == pytest.approx([0.5, 0.2, 0.3], abs=0.02)


@settings(deadline=None)
@given(
    times=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=80),
    fractions=st.sampled_from([(0.1, 0.1), (0.4, 0.3), (0.05, 0.6)]),
)
def test_later_rows_are_for_testing(times: list[int], fractions: tuple[float, float]) -> None:
    found = places(TimeSplit(valid_fraction=fractions[0], test_fraction=fractions[1]), pa.array(times))
    assert set(found) <= {0, 1, 2}
    in_order = [place for _, place in sorted(zip(times, found, strict=True))]
    assert in_order == sorted(in_order)
    assert len(set(zip(times, found, strict=True))) == len(set(times))  # equal times stay together


def test_shares_of_time() -> None:
    found = np.bincount(places(TimeSplit(valid_fraction=0.2, test_fraction=0.3), pa.array(np.arange(1000))))
    assert found.tolist() == [500, 200, 300]


START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "times",
    [
        pa.array(np.arange(10)),
        pa.array(np.arange(10) / 16),  # seconds with fractions
        pa.array([START + timedelta(seconds=n) for n in range(10)], pa.timestamp("us")),
        pa.array([START + timedelta(days=n) for n in range(10)], pa.timestamp("s", "UTC")),
        pa.array([(START + timedelta(days=n)).date() for n in range(10)]),
        pa.array(np.arange(10) + 1_767_225_600_000_000_001),
        pa.array([1_767_225_600_000_000_001 + 10_000 * n for n in range(10)], pa.timestamp("ns")),
    ],
    ids=["integers", "floats", "microseconds", "zoned", "dates", "integer nanoseconds", "nanoseconds"],
)
def test_kinds_of_time(times: pa.Array) -> None:
    found = places(TimeSplit(valid_fraction=0.2, test_fraction=0.3), times)
    assert found == sorted(found)
    if not (pa.types.is_integer(times.type) and times[0].as_py() > 2**53):  # those ten lie in one tick of a double
        assert [found.count(place) for place in range(3)] == [5, 2, 3]


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (pa.array([1, None]), ["must not be null", "1 null"]),
        (pa.array([1.0, float("nan")]), ["finite", "nan"]),
        (pa.array([float("inf"), 1.0]), ["finite", "inf"]),
        (pa.array(["2026-01-01"]), ["must be a timestamp", "string"]),
        (pa.array([], pa.int64()), ["no rows"]),
    ],
)
def test_bad_times(times: pa.Array, words: list[str]) -> None:
    with pytest.raises(DataError, match="timestamp column 'time'") as caught:
        places(TimeSplit(), times)
    for word in words:
        assert word in str(caught.value)


def test_names() -> None:
    assert SPLITS == ("train", "valid", "test")
