"""Columns of any type as 64-bit hashes, and several columns as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.util import hash_array

from ranker import columns as raw
from ranker.id_maps import text_hash

Hashes = NDArray[np.uint64]
_NULL = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)  # odd, so that multiplying loses nothing


def column_hashes(name: str, array: pa.Array) -> Hashes:
    """A hash of every value; all nulls have the same.

    Args:
        name: Of the column, for messages.
        array: Integers, booleans, points in time, or whatever has a canonical text.

    Raises:
        DataError: The column holds lists or bytes.
    """
    if pa.types.is_integer(array.type) or pa.types.is_temporal(array.type):
        return _number_hashes(array)
    words = raw.text(name, array)
    encoded = words if pa.types.is_dictionary(words.type) else words.dictionary_encode()
    of_code: Hashes = np.append(text_hash(encoded.dictionary.to_numpy(zero_copy_only=False)), _NULL)
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(of_code) - 1)
    return of_code[np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)]


def row_hashes(columns: Sequence[Hashes]) -> Hashes:
    """One hash per row of several columns; their order matters."""
    combined = columns[0]
    for other in columns[1:]:
        combined = _mixed(combined * _MULTIPLIER + other)
    return combined


def _number_hashes(array: pa.Array) -> Hashes:
    """Of integers, and of points in time in the column's own unit."""
    narrow = pa.types.is_date32(array.type) or pa.types.is_time32(array.type)
    numbers = array if pa.types.is_integer(array.type) else array.cast(pa.int32() if narrow else pa.int64())
    hashes = _mixed(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False).astype(np.uint64))
    if array.null_count:
        hashes[array.is_null().to_numpy(zero_copy_only=False)] = _NULL
    return hashes


def _mixed(values: NDArray[Any]) -> Hashes:
    hashes: NDArray[Any] = hash_array(values)
    return hashes
