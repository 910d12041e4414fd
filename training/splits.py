"""Which rows are for training, validation and test."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ranker.columns import text
from ranker.errors import DataError
from ranker.id_maps import NUM_RESERVED, HashMap, lookup
from ranker.schema import Ids
from training.config import ColumnSplit, SplitConfig, TimeSplit, UserSplit
from training.order_statistics import stream_quantiles

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# From a batch of rows to the place in SPLITS of each; -1 for rows of no split.
Assign = Callable[[pa.RecordBatch], npt.NDArray[np.int64]]
_HASH_BUCKETS = 10_000


def split_column(config: SplitConfig, ids: Ids) -> str:
    """The column that decides where a row belongs."""
    column = (
        config.column
        if isinstance(config, ColumnSplit)
        else ids.timestamp
        if isinstance(config, TimeSplit)
        else ids.user
    )
    assert column is not None  # checked when the config was read
    return column


def build_split(config: SplitConfig, ids: Ids, scan: Callable[[], Iterable[pa.RecordBatch]]) -> Assign:
    """The function that assigns rows to splits.

    Args:
        config: How rows are split.
        ids: Names the user and timestamp columns.
        scan: Streams the split column of all rows; called only where the boundaries depend on the data.

    Raises:
        DataError: The timestamp column has null or is no time.
    """
    column = split_column(config, ids)
    if isinstance(config, ColumnSplit):
        names = pa.array([config.train, config.valid, config.test])
        return lambda batch: lookup_places(text(column, batch.column(column)), names)
    if isinstance(config, UserSplit):
        bounds = _bounds(config, _HASH_BUCKETS)
        hashes = HashMap(_HASH_BUCKETS)
        return lambda batch: _places(lookup(text(column, batch.column(column)), hashes) - NUM_RESERVED, bounds)
    fractions = [1 - config.valid_fraction - config.test_fraction, 1 - config.test_fraction]
    times = stream_quantiles(lambda: (_times(column, batch.column(column)) for batch in scan()), fractions)
    if times is None:
        raise DataError(f"timestamp column '{column}' has no rows to split; check the path")
    return lambda batch: _places(_times(column, batch.column(column)), times)


def lookup_places(values: pa.Array, names: pa.Array) -> npt.NDArray[np.int64]:
    """Place of each value among `names`, -1 where it is none of them."""
    if pa.types.is_dictionary(values.type):
        places_of_codes = lookup_places(values.dictionary, names)
        codes = pc.fill_null(values.indices.cast(pa.int64()), len(places_of_codes))
        places: npt.NDArray[np.int64] = np.append(places_of_codes, -1).take(codes.to_numpy(zero_copy_only=False))
        return places
    return _int64(pc.fill_null(pc.index_in(values, value_set=names), -1))


def _bounds(config: UserSplit, size: int) -> npt.NDArray[np.float64]:
    return size * np.array([1 - config.valid_fraction - config.test_fraction, 1 - config.test_fraction])


def _places(
    values: npt.NDArray[np.int32] | npt.NDArray[np.float64], bounds: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """0 below the first bound, 1 between the two, 2 from the second on."""
    return np.searchsorted(bounds, values, side="right").astype(np.int64)


def _times(column: str, array: pa.Array) -> npt.NDArray[np.float64]:
    """Times as numbers of one unit: microseconds for timestamps and dates, the file's own for numbers."""
    kind = array.type
    if array.null_count:
        raise DataError(f"timestamp column '{column}' must not be null, got {array.null_count} nulls; drop those rows")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # Finer than a microsecond is cut off: pandas writes nanoseconds.
        return _int64(array.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)).astype(np.float64)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise DataError(f"timestamp column '{column}' must be a timestamp, a date or a number, got {kind}; convert it")
    times = np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)
    if not np.isfinite(times).all():
        value = times[~np.isfinite(times)][0]
        raise DataError(f"timestamp column '{column}' must hold finite numbers, got {value}; drop those rows")
    return times


def _int64(array: pa.Array) -> npt.NDArray[np.int64]:
    return np.asarray(array.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)
