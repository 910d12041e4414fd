"""Candidates of a snapshot of all items are encoded as rows read from the store are: to the last bit."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from feature_store import FeatureColumns, FeatureRow
from feature_store.item_index import HashedIds
from ranker.encoding import Encoder
from ranker.errors import DataError
from ranker.schema import Schema
from serving.errors import readable
from serving.feature_plan import FeaturePlan
from serving.items import EncodedItems, IndexedItems, ItemSide, ItemSnapshot
from serving.wanted import Wanted
from tests.serving.conftest import SCHEMA, hashed, impressions

LIST = "categorical_list"
SCHEMAS: dict[str, list[dict[str, Any]]] = {
    "usual": SCHEMA["features"],
    "numbers only": [
        {"name": "price", "side": "item", "kind": "numeric", "missing_indicator": True},
        {"name": "rank", "source": "price", "side": "item", "kind": "numeric", "transforms": ["quantile"]},
        {"name": "brand", "side": "item", "kind": "numeric", "transforms": []},
    ],
    "buckets and a column read twice": [
        {"name": "hour", "side": "context", "kind": "numeric"},
        {"name": "level", "source": "price", "side": "item", "kind": "numeric", "transforms": ["bucketize"]},
        {"name": "price", "side": "item", "kind": "numeric"},
        {"name": "maker", "source": "brand", "side": "item", "kind": "categorical", "encoding": hashed(5)},
        {"name": "brand", "side": "item", "kind": "categorical", "encoding": hashed(13)},
    ],
    "lists only": [
        {"name": "tags", "side": "item", "kind": LIST, "encoding": hashed(7), "max_length": 2, "pooling": "sum"},
        {"name": "labels", "source": "tags", "side": "item", "kind": LIST, "encoding": hashed(3)},
    ],
    "an id beside lists": [
        {"name": "tags", "side": "item", "kind": LIST, "encoding": hashed(7)},
        {"name": "item", "source": "item_id", "side": "item", "kind": "categorical", "encoding": hashed(19)},
        {"name": "again", "source": "item_id", "side": "item", "kind": "categorical", "encoding": hashed(2)},
    ],
}  # fmt: skip

FLOATS = st.floats(-1e6, 1e6, width=32)
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "price": st.none() | FLOATS,
    "brand": st.none() | st.integers(0, 9),
    "tags": st.none() | st.lists(st.none() | st.sampled_from(["t0", "t1", "new"]), max_size=4),
}
GIVEN: Mapping[str, st.SearchStrategy[Any]] = {
    "price": st.none() | FLOATS | st.integers(-9, 9) | st.booleans(),
    "brand": st.none() | st.integers(0, 9),
    "tags": VALUES["tags"] | st.lists(st.integers(0, 3) | st.booleans(), max_size=3),
}
IDS = st.sampled_from(["i1", "i2", "ü/ ☃", "", "7", "8", "absent"]) | st.integers(6, 8)


@cache
def side_of(name: str) -> ItemSide:
    """The item side of a model with such features."""
    schema = Schema.model_validate({"ids": SCHEMA["ids"], "features": SCHEMAS[name], "tasks": SCHEMA["tasks"]})
    return ItemSide(Encoder.fit(schema, [impressions()]), FeaturePlan.of(schema))


def snapshot_of(side: ItemSide, rows: Mapping[str, FeatureRow | None]) -> ItemSnapshot:
    """All of these rows; the first one is the missing row."""
    ids, found = ["", *rows], [None, *rows.values()]
    items, faults = side.encoder.encode(ids, found)
    named = {readable(ids[place]): fault for place, fault in faults.items()}
    return ItemSnapshot(IndexedItems.of(HashedIds.of(ids).texts, items), None, "t", "c", named, math.inf)


def columns_of(plan: FeaturePlan, rows: Sequence[FeatureRow | None]) -> FeatureColumns:
    """The same rows as the store gives columns."""
    values = {name: [None if row is None else row.values.get(name) for row in rows] for name in plan.item}
    return FeatureColumns(values, [row is not None for row in rows])


def changed(side: ItemSide, snapshot: ItemSnapshot, rows: Mapping[str, FeatureRow | None]) -> ItemSnapshot:
    """The snapshot with newer rows, `None` for deleted ones."""
    return snapshot.with_changes(list(rows), side.encoder.encode(list(rows), list(rows.values())))


def same(side: ItemSide, wanted: Wanted, snapshot: ItemSnapshot, rows: Mapping[str, FeatureRow | None]) -> None:
    """Hold the two ways of encoding to each other."""
    stored = columns_of(side.plan, [rows.get(str(item_id)) for item_id in wanted.item_ids])
    by_row, by_table = side.encode(wanted, stored), side.encode(wanted, snapshot)
    for ours, theirs in zip(by_table.tensors, by_row.tensors, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tolist() == theirs.tolist()
    assert by_table.num_missing == by_row.num_missing
    for place in range(len(wanted.item_ids)):
        assert by_table.lacking(place) == by_row.lacking(place)


@st.composite
def row(draw: st.DrawFn) -> FeatureRow:
    """A row of the item view; some lack a column, as those written before it was added do."""
    names = draw(st.sets(st.sampled_from(sorted(VALUES)), min_size=1))
    return FeatureRow({name: draw(VALUES[name]) for name in sorted(names)}, None)


@st.composite
def request_of(draw: st.DrawFn, plan: FeaturePlan) -> Wanted:
    """Candidates, some of which bring values themselves."""
    item_ids = draw(st.lists(IDS, min_size=1, max_size=7, unique_by=str))
    given = st.fixed_dictionaries({}, optional={name: GIVEN[name] for name in plan.item})
    overrides = draw(st.dictionaries(st.integers(0, len(item_ids) - 1), given.filter(bool), max_size=4))
    return Wanted("u1", item_ids, {}, dict(sorted(overrides.items())))


ROWS = st.dictionaries(st.sampled_from(["i1", "i2", "ü/ ☃", "7", "8"]), row(), max_size=5)


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=50)
@given(data=st.data())
def test_a_snapshot_gives_what_the_store_gives(name: str, data: st.DataObject) -> None:
    side = side_of(name)
    rows: dict[str, FeatureRow | None] = {**data.draw(ROWS)}
    snapshot = snapshot_of(side, rows)
    for _ in range(data.draw(st.integers(0, 2))):
        newer = data.draw(st.dictionaries(st.sampled_from(["i1", "7", "new"]), st.none() | row(), min_size=1))
        rows |= newer
        snapshot = changed(side, snapshot, newer)
        same(side, data.draw(request_of(side.plan)), snapshot, rows)
    for wanted in data.draw(st.lists(request_of(side.plan), min_size=1, max_size=3)):  # some know items by then
        same(side, wanted, snapshot, rows)


def test_a_row_that_expired_is_missing() -> None:
    side = side_of("usual")
    live, past = time.time() + 1000, time.time() - 1
    values = {"price": 3.5, "brand": 2, "tags": ["t1"]}
    rows = {"a": FeatureRow(values, None, live), "b": FeatureRow(values, None, past), "c": FeatureRow(values, None)}
    snapshot = snapshot_of(side, rows)
    seen: dict[str, FeatureRow | None] = {**rows, "b": None}
    same(side, Wanted(None, ["a", "b", "c", "d"]), snapshot, seen)
    same(
        side,
        Wanted(None, ["a", "b", "c"]),
        changed(side, snapshot, {"a": rows["b"], "b": rows["a"]}),
        seen | {"a": None, "b": rows["a"]},
    )


def test_rows_without_a_recent_event_time_are_missing_where_an_age_is_set() -> None:
    side, values = side_of("lists only"), {"tags": ["t1"]}
    rows = [FeatureRow(values, time.time() - age) for age in (1, 99)] + [FeatureRow(values, None)]
    items, _ = side.encoder.encode(["new", "old", "unknown"], rows, max_age_seconds=50)
    assert (items.expires_at[:, 0] > time.time()).tolist() == [True, False, False]


def test_a_value_that_cannot_be_read_spoils_only_requests_that_need_it() -> None:
    side = side_of("usual")
    good = FeatureRow({"price": 2.5, "brand": 1, "tags": None}, None)
    bad = FeatureRow({"price": "cheap", "brand": 7, "tags": ["t1"]}, None)
    rows = {f"i{n}": bad if n == 3 else good for n in range(6)} | {"\ud800": bad}
    snapshot = snapshot_of(side, rows)
    same(side, Wanted(None, ["i1", "i5", "i0"]), snapshot, rows)
    for item_ids, name in ((["i1", "i3"], "i3"), (["i2", "i4", "i5", "i3", "i0"], "i3"), (["\ud800"], r"\?")):
        for items in (snapshot, columns_of(side.plan, [rows[item_id] for item_id in item_ids])):
            with pytest.raises(DataError, match=rf"item '{name}': column '(price|item_id)' must hold"):
                side.encode(Wanted(None, item_ids), items)
    same(side, Wanted(None, ["i1", "i3", "i0"], {}, {1: {"price": 1.0}}), snapshot, rows)
    with pytest.raises(DataError, match="item 'i3': column 'price' must hold"):
        side.encode(Wanted(None, ["i1", "i3"], {}, {1: {"brand": 2}}), snapshot)
    everything = {"price": 1.0, "brand": 2, "tags": ["t0"]}
    same(side, Wanted(None, ["i3"], {}, {0: everything}), snapshot, rows)
    mended = changed(side, snapshot, {"i3": good, "\ud800": None})
    same(side, Wanted(None, ["i1", "i3"]), mended, rows | {"i3": good})
    assert list(mended.faults) == ["?"]  # the id of that one stays unreadable
    spoilt = changed(side, mended, {"i1": bad})
    same(side, Wanted(None, ["i1", "i3"], {}, {0: {"price": None}}), spoilt, rows | {"i1": bad, "i3": good})


def test_ids_that_are_read_as_numbers_are_not_kept_encoded() -> None:
    features = [
        {"name": "item", "source": "item_id", "side": "item", "kind": "numeric"},
        {"name": "price", "side": "item", "kind": "numeric"},
    ]
    tasks = SCHEMA["tasks"]
    schema = Schema.model_validate({"ids": SCHEMA["ids"], "features": features, "tasks": tasks})
    rows = {"item_id": [1, 2], "price": [2.0, 3.0]}
    assert not ItemSide(Encoder.fit(schema, [rows]), FeaturePlan.of(schema)).encoder.fits_a_table
    assert all(side_of(name).encoder.fits_a_table for name in SCHEMAS)


def test_of_an_item_that_changes_again_and_again_only_the_last_row_is_kept() -> None:
    side = side_of("usual")
    snapshot = snapshot_of(side, {"a": FeatureRow({"price": 0.0}, None)})
    for price in range(1, 6):
        snapshot = changed(side, snapshot, {"a": FeatureRow({"price": price}, None), f"b{price % 2}": None})
    assert snapshot.changed is not None
    assert len(snapshot.changed) == 3
    assert len(EncodedItems.concat([snapshot.changed.items]).ids) == 3
