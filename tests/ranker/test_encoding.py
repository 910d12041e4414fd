"""The encoder: equal values, equal tensors, whatever they came in, with whom, and on which side of the wire."""

from __future__ import annotations

import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, strategies as st

from ranker.columns import Columns
from ranker.encoding import MODEL_SIDES, Encoder, ModelSide, SideTensors, num_numeric_inputs
from ranker.errors import DataError
from ranker.id_maps import MISSING_ID, UNKNOWN_ID
from ranker.schema import CategoricalListFeature, NumericFeature, Schema, embedded, table_name

Row = dict[str, Any]
ALL = {"kind": "vocabulary", "min_count": 1}

SCHEMA = Schema.model_validate(
    {
        "tables": {"brand": {"encoding": ALL}, "tag": {"encoding": {"kind": "hash", "num_buckets": 11}}},
        "features": [
            {"name": "brand", "side": "item", "kind": "categorical", "table": "brand"},
            {"name": "hour", "side": "context", "kind": "categorical", "encoding": ALL},
            {"name": "liked", "side": "user", "kind": "categorical_list", "table": "brand", "max_length": 3},
            {"name": "tags", "side": "item", "kind": "categorical_list", "table": "tag", "max_length": 2},
            {"name": "tag", "side": "item", "kind": "categorical", "table": "tag"},
            {"name": "age", "side": "user", "kind": "numeric", "missing_indicator": True},
            {"name": "age_bucket", "side": "user", "kind": "numeric", "source": "age", "transforms": ["bucketize"]},
            {"name": "price", "side": "item", "kind": "numeric", "transforms": ["log1p", "quantile"]},
            {"name": "stock", "side": "item", "kind": "numeric", "transforms": []},
        ],
        "tasks": [{"name": "ctr", "label": "click"}],
    }
)
TRAINING: dict[str, list[Any]] = {
    "brand": ["a", "b", None, "a", "c", "a", "5"],
    "hour": [0, 13, 5, 5, None, 13, 5],
    "liked": [["a", "d"], [], None, ["b", None], ["a", "b", "c", "d"], [], ["5"]],
    "tags": [[1, 2], None, [3], [], [4, 5, 6], [1], [2]],
    "tag": [1, 2, None, 2, 2, 1, 9],
    "age": [20.0, 30.5, None, 41.0, 20.0, 77.0, 18.0],
    "price": [1.0, 2.0, 4.0, None, 16.0, 32.0, 64.0],
    "stock": [0, 1, 2, 3, None, 5, 6],
}
ENCODER = Encoder.fit(SCHEMA, [pa.table(TRAINING)])

_WORD = st.sampled_from(["a", "b", "c", "d", "5", "new", "", None])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "brand": _WORD,
            "hour": st.one_of(st.none(), st.integers(0, 14)),
            "liked": st.one_of(st.none(), st.lists(_WORD, max_size=5)),
            "tags": st.one_of(st.none(), st.lists(st.integers(0, 9), max_size=4)),
            "tag": st.one_of(st.none(), st.integers(0, 9)),
            "age": st.one_of(st.none(), st.floats(0, 99)),
            "price": st.one_of(st.none(), st.floats(-5, 1e6)),
            "stock": st.one_of(st.none(), st.integers(-9, 9)),
        }
    ),
    max_size=7,
)


def columns_of(rows: list[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in TRAINING}


def table_of(rows: list[Row]) -> pa.Table:
    types = pa.table(TRAINING).schema
    return pa.table({name: pa.array(values, types.field(name).type) for name, values in columns_of(rows).items()})


def assert_same(found: SideTensors, expected: SideTensors) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert torch.equal(one, other)


def encode_one(values: Any, encoding: Row = ALL, fit_on: Any = ("1", "5", "x"), kind: str = "categorical") -> list[int]:
    """Ids of one categorical column under a vocabulary in which `fit_on` have rows 2, 3, ..."""
    schema = Schema.model_validate(
        {
            "features": [{"name": "c", "side": "item", "kind": kind, "encoding": encoding}],
            "tasks": [{"name": "ctr", "label": "click"}],
        }
    )
    learnt = Encoder.fit(schema, [{"c": [list(fit_on)] if kind == "categorical_list" else list(fit_on)}])
    ids: list[int] = learnt.encode_side({"c": values}, "item").ids.tolist()
    return ids


# -------------------------------------------------------------------------------------------- one value, one row


def slow_reference(rows: list[Row], side: ModelSide) -> SideTensors:
    """One row and one feature at a time, from the definitions alone."""
    ids: list[int] = []
    lengths: list[int] = []
    for feature in filter(embedded, SCHEMA.side_features(side)):
        for row in rows:
            value = row[feature.column]
            if isinstance(feature, NumericFeature):
                raw = np.array([np.nan if value is None else value])
                bag = [int(ENCODER.numeric_maps[feature.name].rows(feature, raw)[0])]
            elif isinstance(feature, CategoricalListFeature):
                bag = [MISSING_ID] if value is None else [row_of(feature, v) for v in value[-feature.max_length :]]
            else:
                bag = [row_of(feature, value)]
            ids += bag
            lengths.append(len(bag))
    inputs = [[x for f in SCHEMA.side_features(side) if not embedded(f) for x in inputs_of(f, row)] for row in rows]
    numeric = np.array(inputs, np.float32).reshape(len(rows), num_numeric_inputs(SCHEMA, side))
    return SideTensors(
        torch.tensor(ids, dtype=torch.int64), torch.tensor(lengths, dtype=torch.int64), torch.tensor(numeric)
    )


def row_of(feature: Any, value: str | int | None) -> int:
    if value is None:
        return MISSING_ID
    table = table_name(feature)
    if table == "tag":
        return int(ENCODER._id_maps[table].rows(np.array([str(value)], object))[0])
    known = ENCODER.vocabularies[table].values.to_pylist()
    return known.index(str(value)) + 2 if str(value) in known else UNKNOWN_ID


def inputs_of(feature: Any, row: Row) -> list[float]:
    value = row[feature.column]
    raw = np.array([np.nan if value is None else value], np.float64)
    scaled = float(ENCODER.numeric_maps[feature.name].values(feature, raw)[0])
    return [scaled, float(value is None)] if feature.missing_indicator else [scaled]


@given(ROWS)
def test_layout_is_feature_major_and_equals_the_slow_reference(rows: list[Row]) -> None:
    for side in MODEL_SIDES:
        found = ENCODER.encode_side(table_of(rows), side)
        assert_same(found, slow_reference(rows, side))
        assert found.ids.numel() == found.lengths.sum()


@given(ROWS)
def test_dict_frame_table_and_batches_give_the_same_tensors(rows: list[Row]) -> None:
    table = table_of(rows)
    expected = ENCODER.encode(table)
    nullable = pd.DataFrame(columns_of(rows)).convert_dtypes() if rows else table.to_pandas()
    padded = pa.concat_tables([table_of([dict.fromkeys(TRAINING)]), table])
    same: list[Columns] = [
        columns_of(rows),
        table.to_pandas(),
        table.to_pandas(types_mapper=pd.ArrowDtype),
        nullable,
        padded.slice(1),
        pa.concat_tables([table.slice(0, 2), table.slice(2)]),
        {name: table.column(name) for name in TRAINING},
        {name: np.array([*values, None], object)[:-1] for name, values in columns_of(rows).items()},
    ]
    for data in same:
        found = ENCODER.encode(data)
        assert_same(found.request, expected.request)
        assert_same(found.item, expected.item)


@given(ROWS)
def test_a_row_is_encoded_as_if_it_were_alone(rows: list[Row]) -> None:
    for side in MODEL_SIDES:
        together = ENCODER.encode_side(columns_of(rows), side)
        alone = [ENCODER.encode_side(columns_of([row]), side) for row in rows]
        num_features = len([f for f in SCHEMA.side_features(side) if embedded(f)])
        lengths = together.lengths.reshape(num_features, len(rows))
        bags = [list(ids.split(sizes.tolist())) for ids, sizes in ((one.ids, one.lengths) for one in alone)]
        expected = [bags[row][feature] for feature in range(num_features) for row in range(len(rows))]
        assert lengths.T.reshape(-1).tolist() == [length for one in alone for length in one.lengths.tolist()]
        assert together.ids.tolist() == [value for bag in expected for value in bag.tolist()]
        assert together.numeric_BN.tolist() == [one.numeric_BN[0].tolist() for one in alone]


@pytest.mark.parametrize(
    "values",
    [
        [5, "5", 5.0, Decimal("5.0")],
        pd.Series([5] * 4, dtype="category"),
        pd.Series([5] * 4, dtype="UInt8"),
        np.array([5.0] * 4, np.float32),
        pa.array(["5"] * 4, pa.large_string()).dictionary_encode(),
    ],
)
@pytest.mark.parametrize("fit_on", [[5], ["5"], [5.0], [datetime.date(2024, 1, 1), 5, "5"]])
def test_five_is_five_between_training_and_serving(values: Any, fit_on: list[Any]) -> None:
    assert encode_one(values, fit_on=fit_on) == encode_one(["5"] * 4, fit_on=fit_on)
    assert UNKNOWN_ID not in encode_one(values, fit_on=fit_on)


def test_missing_unknown_and_known_are_three_things() -> None:
    assert encode_one([None, "new", "1", float("nan"), "x"]) == [MISSING_ID, UNKNOWN_ID, 2, MISSING_ID, 4]
    hashed = encode_one([None, "new", "1"], {"kind": "hash", "num_buckets": 5})
    assert hashed[0] == MISSING_ID
    assert UNKNOWN_ID not in hashed


def test_missing_and_empty_lists_differ() -> None:
    found = ENCODER.encode_side({"liked": [None, [], ["a", None]], "age": [1, 2, 3], "hour": [5, 5, 5]}, "request")
    assert found.lengths[:3].tolist() == [1, 0, 2]
    assert found.ids[:3].tolist() == [MISSING_ID, 2, MISSING_ID]


def test_long_lists_keep_their_last_values() -> None:
    ids = encode_one([["1", "5", "x"] * 30], kind="categorical_list")
    assert ids == ([2, 3, 4] * 30)[-50:]


def test_no_rows_make_empty_tensors_of_the_right_width() -> None:
    for data in (table_of([]), columns_of([]), table_of([]).to_pandas()):
        found = ENCODER.encode(data)
        assert found.item.ids.shape == found.item.lengths.shape == (0,)
        assert found.item.numeric_BN.shape == (0, num_numeric_inputs(SCHEMA, "item")) == (0, 2)
        assert found.request.numeric_BN.shape == (0, num_numeric_inputs(SCHEMA, "request")) == (0, 2)


def test_side_without_features_still_counts_its_rows() -> None:
    schema = Schema.model_validate(
        {"features": [{"name": "x", "side": "item", "kind": "numeric"}], "tasks": [{"name": "ctr", "label": "click"}]}
    )
    learnt = Encoder.fit(schema, [{"x": [1.0, 2.0]}])
    assert [tensor.shape for tensor in learnt.encode_side(pa.table({"x": [1.0] * 3}), "request")] == [
        (0,),
        (0,),
        (3, 0),
    ]


# ----------------------------------------------------------------------------------------------- fit and extend


def test_features_share_a_table_and_its_counts() -> None:
    schema = Schema.model_validate(
        {
            "tables": {"brand": {"encoding": {"kind": "vocabulary", "min_count": 2}}},
            "features": [
                {"name": "brand", "side": "item", "kind": "categorical", "table": "brand"},
                {"name": "liked", "side": "user", "kind": "categorical_list", "table": "brand"},
            ],
            "tasks": [{"name": "ctr", "label": "click"}],
        }
    )
    learnt = Encoder.fit(schema, [{"brand": [7, 8, 9], "liked": [["7"], ["8", "8"], None]}])
    assert learnt.vocabularies["brand"].values.to_pylist() == ["8", "7"]
    assert learnt.num_embeddings == {"brand": 4}
    found = learnt.encode({"brand": [8], "liked": [[8, 7, 9]]})
    assert found.item.ids.tolist() == [2]
    assert found.request.ids.tolist() == [2, 3, UNKNOWN_ID]


def test_num_embeddings_covers_every_table() -> None:
    assert ENCODER.num_embeddings == {
        "brand": 7,
        "hour": 5,
        "tag": 13,
        "age_bucket": ENCODER.num_embeddings["age_bucket"],
    }
    for side in MODEL_SIDES:
        found = ENCODER.encode_side(TRAINING, side)
        features = [f for f in SCHEMA.side_features(side) if embedded(f)]
        per_feature = found.lengths.reshape(len(features), -1).sum(1).tolist()
        for feature, ids in zip(features, found.ids.split(per_feature), strict=True):
            assert 0 <= ids.min() <= ids.max() < ENCODER.num_embeddings[table_name(feature)]


@given(st.lists(st.integers(0, 7), max_size=4))
def test_fit_does_not_depend_on_how_the_rows_were_batched(cuts: list[int]) -> None:
    table = pa.table(TRAINING)
    borders = [0, *sorted(cuts), 7]
    batches = [table.slice(start, end - start) for start, end in pairwise(borders)]
    assert Encoder.fit(SCHEMA, batches).fingerprint == ENCODER.fingerprint


def test_extension_keeps_every_id_and_all_statistics() -> None:
    new = {**TRAINING, "brand": ["zz", "zz", "a", "y", "y", "y", None], "age": [900.0] * 7, "hour": [None] * 7}
    wider = ENCODER.extend([pa.table(new)])
    old = ENCODER.encode(TRAINING)
    assert_same(wider.encode(TRAINING).request, old.request)
    assert_same(wider.encode(TRAINING).item, old.item)
    assert wider.num_embeddings == {**ENCODER.num_embeddings, "brand": 9}
    assert wider.vocabularies["brand"].values.to_pylist()[-2:] == ["y", "zz"]
    assert wider.fingerprint != ENCODER.fingerprint
    assert ENCODER.extend([]).fingerprint == ENCODER.fingerprint


def test_extension_honours_min_count_and_max_size() -> None:
    schema = Schema.model_validate(
        {
            "features": [
                {
                    "name": "c",
                    "side": "item",
                    "kind": "categorical",
                    "encoding": {"kind": "vocabulary", "min_count": 2, "max_size": 3},
                }
            ],
            "tasks": [{"name": "ctr", "label": "click"}],
        }
    )
    learnt = Encoder.fit(schema, [{"c": ["a", "a", "b", "b", "once"]}])
    wider = learnt.extend([{"c": ["a", "b", "p", "p", "q", "q", "q", "once"]}])
    assert wider.vocabularies["c"].values.to_pylist() == ["a", "b", "q"]


def test_rare_and_new_values_share_overflow_rows_until_they_have_their_own(tmp_path: Path) -> None:
    encoding = {"kind": "vocabulary", "min_count": 2, "max_size": 4, "overflow": "hash", "overflow_buckets": 3}
    schema = Schema.model_validate(
        {
            "features": [{"name": "c", "side": "item", "kind": "categorical", "encoding": encoding}],
            "tasks": [{"name": "ctr", "label": "click"}],
        }
    )
    first = Encoder.fit(schema, [{"c": ["a", "b", "a", "rare", "b", "a"]}])
    asked = {"c": ["a", "b", "rare", "new", None]}

    def ids(encoder: Encoder) -> list[int]:
        found: list[int] = encoder.encode_side(asked, "item").ids.tolist()
        return found

    assert first.num_embeddings == {"c": 2 + 3 + 2}
    a, b, rare, new, missing = ids(first)
    assert (a, b, missing) == (5, 6, MISSING_ID)
    assert {rare, new} <= {2, 3, 4}
    second = first.extend([{"c": ["new", "new", "rare"]}])
    assert ids(second) == [a, b, rare, 7, missing]
    second.save(tmp_path / "encoder")
    again = Encoder.load(tmp_path / "encoder", schema)
    assert ids(again) == ids(second)
    assert again.fingerprint == second.fingerprint != first.fingerprint


# ---------------------------------------------------------------------------------- save, load and fingerprint


def test_round_trip_through_files(tmp_path: Path) -> None:
    folder = tmp_path / "day=3" / "encoder"  # a name that Parquet data sets give a meaning
    ENCODER.save(folder)
    again = Encoder.load(folder, SCHEMA)
    assert again.fingerprint == ENCODER.fingerprint
    assert again.num_embeddings == ENCODER.num_embeddings
    assert_same(again.encode(TRAINING).item, ENCODER.encode(TRAINING).item)
    assert_same(again.encode(TRAINING).request, ENCODER.encode(TRAINING).request)
    assert again.extend([pa.table(TRAINING)]).fingerprint == ENCODER.fingerprint


def test_fingerprint_sees_schema_vocabulary_and_statistics() -> None:
    other_schema = SCHEMA.model_copy(update={"embedding_dim": 3})
    others = [
        Encoder.fit(other_schema, [pa.table(TRAINING)]),
        Encoder.fit(SCHEMA, [{**TRAINING, "brand": ["a", "b", None, "a", "c", "a", "6"]}]),
        Encoder.fit(SCHEMA, [{**TRAINING, "age": [20.0, 30.5, None, 41.0, 20.0, 77.0, 18.5]}]),
    ]
    assert len({ENCODER.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize("name", ["numeric.json", "vocabularies/brand.parquet"])
@pytest.mark.parametrize("harm", ["delete", "truncate", "empty"])
def test_damaged_files_are_refused(tmp_path: Path, name: str, harm: str) -> None:
    ENCODER.save(tmp_path / "encoder")
    file = tmp_path / "encoder" / name
    content = file.read_bytes()
    file.unlink()
    if harm != "delete":
        file.write_bytes(content[: len(content) // 2] if harm == "truncate" else b"")
    with pytest.raises(DataError, match=r"(?s)encoder in .* cannot be read: .*; restore it from a published bundle"):
        Encoder.load(tmp_path / "encoder", SCHEMA)


def test_encoder_of_another_schema_is_refused(tmp_path: Path) -> None:
    ENCODER.save(tmp_path / "encoder")
    fewer = SCHEMA.model_copy(update={"features": SCHEMA.features[:-1]})
    with pytest.raises(DataError, match=r"differ in \['stock'\]; load it with the schema it was fitted on"):
        Encoder.load(tmp_path / "encoder", fewer)


# ----------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("brand", [["a"], ["b"]], "column 'brand' must hold strings.*got .*declare lists as kind: categorical_list"),
        ("liked", ["a", "b"], "column 'liked' must hold lists.*declare single values as kind: categorical"),
        ("liked", [["a"], [["b"]]], "column 'liked'"),
        ("age", ["old", None], r"column 'age' must hold numbers, got 'old' in row 0 \(string\); convert it"),
        ("age", [1.0, float("inf")], "column 'age' must hold finite numbers.*got inf in row 1; use null"),
        ("age", [1.0], "columns must be of one length, got 2 rows in 'liked' and 1 in 'age'; fill up with null"),
        ("hour", 7, "column 'hour' must be a sequence with one value per row, got 7; put it in a list"),
    ],
)
def test_bad_columns_are_refused_by_fit_and_encode(column: str, values: Any, message: str) -> None:
    data = {name: held[:2] for name, held in TRAINING.items()} | {column: values}
    with pytest.raises(DataError, match=message):
        ENCODER.encode(data)
    if column != "age" or len(values) == 2:  # lengths are checked where rows meet
        with pytest.raises(DataError, match=message):
            Encoder.fit(SCHEMA, [data])


@pytest.mark.parametrize("column", list(TRAINING))
def test_missing_column_is_refused(column: str) -> None:
    data = {name: values for name, values in TRAINING.items() if name != column}
    with pytest.raises(DataError, match=f"column '{column}' is missing; there are .*; add it, or correct the schema"):
        ENCODER.encode(data)
    with pytest.raises(DataError, match=f"column '{column}' is missing"):
        Encoder.fit(SCHEMA, [pa.table(data)])


@pytest.mark.parametrize("column", list(TRAINING))
def test_column_without_any_value_is_refused(column: str) -> None:
    empty: list[Any] = [None, float("nan"), None, None, None, None, None]
    if column in ("liked", "tags"):
        empty = [None, [], [None], None, [], None, None]
    with pytest.raises(
        DataError, match=f"column '{column}' of feature '{column}.* holds no value .*; fill it, or remove"
    ):
        Encoder.fit(SCHEMA, [{**TRAINING, column: empty}])


@pytest.mark.parametrize("batches", [[], [pa.table(TRAINING).slice(0, 0)]])
def test_no_training_rows_are_refused(batches: list[pa.Table]) -> None:
    with pytest.raises(DataError, match="training data must have at least one row, got none"):
        Encoder.fit(SCHEMA, batches)
