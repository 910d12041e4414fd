"""One row has the same tensors whether it is encoded by itself or as columns of one value, and the same errors."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, strategies as st

from ranker.encoding import MODEL_SIDES, Encoder, ModelSide, SideTensors
from ranker.errors import DataError
from ranker.schema import Schema

VOCABULARY = {"kind": "vocabulary", "min_count": 1}
OVERFLOW = {**VOCABULARY, "overflow": "hash", "overflow_buckets": 3}
HASHED = {"kind": "hash", "num_buckets": 11}


def feature(name: str, side: str, kind: str, source: str, **options: object) -> dict[str, Any]:
    return {"name": name, "side": side, "kind": kind, "source": source, **options}


SCHEMA = Schema.model_validate(
    {
        "tables": {"shared": {"encoding": OVERFLOW}},
        "features": [
            feature("word", "user", "categorical", "a", encoding=VOCABULARY),
            feature("hashed", "user", "categorical", "b", encoding=HASHED),
            feature("scaled", "context", "numeric", "n"),
            feature("bucket", "user", "numeric", "n", transforms=["log1p", "bucketize"]),
            feature("shared_word", "context", "categorical", "b", table="shared"),
            feature("words", "context", "categorical_list", "c", table="shared", max_length=2),
            feature("hashed_words", "user", "categorical_list", "c", encoding=HASHED),
            feature("plain", "context", "numeric", "m", transforms=[], missing_indicator=True),
            feature("rank", "user", "numeric", "m", transforms=["log1p", "quantile"]),
            feature("logarithm", "item", "numeric", "m", transforms=["log1p"]),
            feature("level", "item", "numeric", "m", transforms=["bucketize"], boundaries=[-1.0, 0.0, 3.5]),
        ],
        "tasks": [{"name": "ctr", "label": "click"}],
    }
)
_WORDS = ["a", "5", "ß", "", "-7", "0.5", "1", "9223372036854775808"]
_NUMBERS = [-2.0, 0.0, 0.5, 1.0, 3.5, 8.0, 21.0, None]
ENCODER = Encoder.fit(
    SCHEMA, [pa.table({"a": _WORDS, "b": _WORDS, "c": [[w] for w in _WORDS], "n": _NUMBERS, "m": _NUMBERS})]
)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-9, 9)
    | st.floats()
    | st.integers(-9, 9).map(float)
    | st.text(max_size=4)
    | st.sampled_from(_WORDS)
    | st.sampled_from([-0.0, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 1e-5, 1e10 + 0.5, 1e19, 3.4028235e38, "\ud800", "1"])
)
ODD = st.sampled_from(
    [b"a", pd.NA, pd.NaT, np.float32(0.1), np.int8(5), np.bool_(True), np.str_("a"), Decimal("4.10"), (1, 2),
     np.array(["a", "5"]), datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 7, tzinfo=datetime.UTC),
     {"a": 1}, [[1]], [b"a"]]
)  # fmt: skip
VALUES = SCALARS | st.lists(SCALARS, max_size=4) | ODD
ROWS = st.fixed_dictionaries(dict.fromkeys("abcnm", VALUES))
PLAIN_ROWS = st.fixed_dictionaries(
    {
        "a": SCALARS,
        "b": SCALARS,
        "c": st.none() | st.lists(SCALARS, max_size=4),
        "n": st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(width=32, allow_infinity=False),
        "m": st.none() | st.integers(-9, 9) | st.floats(-9, 40),
    }
)


def outcome(encode: Callable[[], SideTensors]) -> SideTensors | str:
    """What an encoder gives, or why it refuses."""
    try:
        return encode()
    except DataError as exc:
        return str(exc)


@given(row=ROWS | PLAIN_ROWS, side=st.sampled_from(MODEL_SIDES))
def test_a_row_is_a_column_of_one_value(row: dict[str, Any], side: ModelSide) -> None:
    columns = {name: [value] for name, value in row.items()}
    found = outcome(lambda: ENCODER.encode_row(row, side))
    expected = outcome(lambda: ENCODER.encode_side(columns, side))
    if isinstance(found, str) or isinstance(expected, str):
        assert found == expected
        return
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)


def test_a_side_without_features_has_one_row_of_nothing() -> None:
    schema = Schema.model_validate(
        {"features": [feature("price", "item", "numeric", "price")], "tasks": [{"name": "ctr", "label": "click"}]}
    )
    ids, lengths, numeric_BN = Encoder.fit(schema, [{"price": [1.0, 2.0]}]).encode_row({}, "request")
    assert (ids.shape, lengths.shape, numeric_BN.shape) == ((0,), (0,), (1, 0))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match=r"column 'm' is missing; there are \['n'\]"):
        ENCODER.encode_row({"n": 1.0}, "item")
