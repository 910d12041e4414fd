"""Several views at once, and rows as columns: what `get_many` gives, in another shape."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from feature_store import Column, FeatureRow, FeatureStore, SchemaMismatch, UnknownView, ViewSchema
from feature_store.decoder import RowDecoder
from feature_store.encoder import RowEncoder

ITEM = ViewSchema("item", (Column("price", "float"), Column("tags", "string_list")))
WIDER = ViewSchema("item", (Column("brand", "string"), *ITEM.columns))
USER = ViewSchema("user", (Column("age", "int"),))


async def test_several_views_at_once(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.create_view(USER)
    await store.put_many("item", [("x", {"price": 1.0}, None), ("y", {"price": 2.0}, None)])
    await store.put_many("user", [("x", {"age": 7}, None)])
    found = await store.get_views({"user": ["x"], "item": ["y", "none", "x", "y"]})
    assert found == {
        "user": [FeatureRow({"age": 7}, None)],
        "item": await store.get_many("item", ["y", "none", "x", "y"]),
    }
    assert await store.get_views({"user": [], "item": []}) == {"user": [], "item": []}
    assert await store.get_views({}) == {}
    with pytest.raises(UnknownView):
        await store.get_views({"user": ["x"], "itme": ["y"]})


async def test_columns(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("a", {"price": 1.0, "tags": ["x"]}, None), ("b", {}, None)])
    found = await store.get_columns("item", ["b", "none", "a", "a"], ["tags", "price"])
    assert {name: list(column) for name, column in found.values.items()} == {
        "tags": [None, None, ["x"], ["x"]],
        "price": [None, None, 1.0, 1.0],
    }
    assert list(found.present) == [True, False, True, True]
    nothing = await store.get_columns("item", ["none", ""], ["price"])
    assert (list(nothing.values["price"]), list(nothing.present)) == ([None, None], [False, False])
    assert await store.get_columns("item", [], []) == ({}, [])
    with pytest.raises(UnknownView):
        await store.get_columns("itme", ["a"], ["price"])


async def test_columns_of_rows_of_several_schemas(store: FeatureStore) -> None:
    await store.create_view(ITEM)
    await store.put_many("item", [("old", {"price": 1.0}, None), ("both", {"price": 2.0}, None)])
    await store.get_columns("item", ["old"], ["price"])
    await store.create_view(WIDER, replace=True)
    await store.put_many("item", [("both", {"price": 3.0, "brand": "b"}, None)])
    found = await store.get_columns("item", ["both", "none", "old"], ["brand", "price", "colour"])
    assert found.values == {"brand": ["b", None, None], "price": [3.0, None, 1.0], "colour": [None] * 3}


async def test_columns_of_old_rows_can_be_left_out(store: FeatureStore) -> None:
    now = time.time()
    await store.create_view(ITEM)
    await store.put_many("item", [("old", {"price": 1.0}, now - 100), ("new", {"price": 2.0}, now)])
    found = await store.get_columns("item", ["old", "new"], ["price"], max_age_seconds=50)
    assert found == ({"price": [None, 2.0]}, [False, True])
    with pytest.raises(ValueError, match="`max_age_seconds` must be greater than 0"):
        await store.get_columns("item", ["old"], ["price"], max_age_seconds=0)


ROWS = st.lists(
    st.none()
    | st.tuples(
        st.sampled_from([ITEM, WIDER]),
        st.fixed_dictionaries(
            {},
            optional={"price": st.floats(allow_nan=False, allow_infinity=False), "tags": st.lists(st.text())},
        ),
        st.sampled_from([None, 10.0, 20.0]),
        st.sampled_from([50.0, 150.0]),
    )
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.sampled_from([None, 15.0]))
def test_columns_are_the_rows(drawn: list[Any], oldest: float | None) -> None:
    raws = [
        None if row is None else RowEncoder(row[0]).encode(n, row[1], row[2], row[3]) for n, row in enumerate(drawn)
    ]
    ids = list(range(len(drawn)))
    decoder = RowDecoder("item", [ITEM, WIDER])
    rows = decoder.decode_many(ids, raws, 100.0, oldest)
    found = decoder.decode_columns(["tags", "price", "brand"], ids, raws, 100.0, oldest)
    assert list(found.present) == [row is not None for row in rows]
    for name, column in found.values.items():
        assert list(column) == [None if row is None else row.values.get(name) for row in rows]


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_the_broken_row_among_others_is_named(good: list[bool], data: st.DataObject) -> None:
    raw = RowEncoder(ITEM).encode("e", {"price": 1.0, "tags": ["x"]}, None)
    broken = data.draw(st.sampled_from([raw[:-1], raw + b"\xc0", raw[:25], raw[:25] + b"\x91\xc0", raw[:25] + b"\xc0"]))
    raws = [raw if is_good else broken for is_good in good]
    decoder = RowDecoder("item", [ITEM])
    if all(good):
        assert len(decoder.decode_many(range(len(raws)), raws, 0.0)) == len(raws)
        return
    for decode in (decoder.decode_many, lambda *rest: decoder.decode_columns(["price"], *rest)):
        with pytest.raises(SchemaMismatch, match=rf"view 'item', entity '{good.index(False)}': .* not a packed row"):
            decode(range(len(raws)), raws, 0.0)
