"""Values that requests bring: what is refused, and that what passes means the same as in training."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given, strategies as st

from ranker.encoding import Encoder
from ranker.schema import Schema
from serving.values import Kind, check, is_plain
from serving.wanted import Given

KINDS: dict[str, Kind] = {"number": "number", "category": "category", "list": "list"}
SCHEMA = Schema.model_validate(
    {
        "features": [
            {"name": "number", "side": "item", "kind": "numeric", "transforms": []},
            {
                "name": "category",
                "side": "item",
                "kind": "categorical",
                "encoding": {"kind": "hash", "num_buckets": 97},
            },
            {
                "name": "list",
                "side": "item",
                "kind": "categorical_list",
                "encoding": {"kind": "hash", "num_buckets": 97},
            },
        ],
        "tasks": [{"name": "ctr", "label": "click"}],
    }
)
ENCODER = Encoder.fit(SCHEMA, [pa.table({"number": [1.0], "category": ["a"], "list": [["a"]]})])

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = scalars | st.lists(scalars, max_size=4)
rows = st.dictionaries(st.sampled_from(list(KINDS)), values)


@given(brought=rows, stored=rows)
def test_what_passes_can_be_encoded_beside_stored_values(brought: dict[str, Any], stored: dict[str, Any]) -> None:
    columns = {name: [value, None, ["a", None] if name == "list" else 7] for name, value in fitting(stored).items()}
    columns = {name: columns.get(name, [None] * 3) for name in KINDS}
    for name, value in fitting(brought).items():
        columns[name][1] = value
    tensors = ENCODER.encode_side(columns, "item")
    assert tensors.numeric_BN.shape == (3, 1)
    assert tensors.numeric_BN.isfinite().all()


@given(columns=st.lists(values, max_size=5), kind=st.sampled_from(list(KINDS)))
def test_what_needs_no_closer_look_has_no_fault(columns: list[Any], kind: Kind) -> None:
    faults = [fault for value in columns for fault in check({kind: value}, KINDS, "context")]
    assert not (is_plain(Given(range(len(columns)), columns).arrow, kind) and faults)


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ([1, 2.5, True, None], "number"),
        ([1, 2.5, None], "category"),
        ([["a", "b"], None, []], "list"),
        ([None], "list"),
        ([None], "number"),
        ([None, 0.5], "number"),
        (["a"], "category"),
        ([], "number"),
    ],
)
def test_what_bodies_usually_bring_needs_no_closer_look(column: list[Any], kind: Kind) -> None:
    assert is_plain(Given(range(len(column)), column).arrow, kind)


@given(column=st.lists(values | st.integers(-9, 9), max_size=5), kind=st.sampled_from(list(KINDS)))
def test_a_column_means_the_same_as_arrow_takes_it(column: list[Any], kind: Kind) -> None:
    brought = [value for value in column if not list(check({kind: value}, KINDS, "context"))]
    assume(brought)
    nothing = {name: [None] * len(brought) for name in KINDS}
    plain = ENCODER.encode_side(nothing | {kind: brought}, "item")
    taken = ENCODER.encode_side(nothing | {kind: Given(range(len(brought)), brought).column}, "item")
    assert [part.tolist() for part in taken] == [part.tolist() for part in plain]


def fitting(row: dict[str, Any]) -> dict[str, Any]:
    """The values of a row that a request may bring."""
    return {name: value for name, value in row.items() if not list(check({name: value}, KINDS, "context"))}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("number", "1"), ("number", [1]), ("number", 1e39), ("number", -(10**39)), ("number", float("inf")),
     ("number", float("nan")), ("category", [1]), ("category", 2**63), ("list", 1), ("list", [2**63]), ("list", "a")],
)  # fmt: skip
def test_what_does_not_fit_is_named(kind: Kind, value: object) -> None:
    (fault,) = check({kind: value}, KINDS, "context")
    assert fault.field == f"context.{kind}"
    assert fault.message.startswith("must ")
    assert fault.fix
