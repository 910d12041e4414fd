"""Keys of the LMDB file: what is stored tells its entity, however long or odd the id."""

from __future__ import annotations

from hypothesis import given, strategies as st

from feature_store.embedded.keys import RowKeys

ENTITIES = st.lists(
    st.binary(min_size=1, max_size=40) | st.binary(min_size=480, max_size=600) | st.sampled_from([b"\0", b"\0" * 33]),
    unique=True,
)


@given(ENTITIES)
def test_what_is_stored_tells_its_entity(entities: list[bytes]) -> None:
    rows, others = RowKeys("item"), RowKeys("item2")
    keys = rows.keys(entities)
    assert len({*keys, *others.keys(entities)}) == 2 * len(entities)
    for key, entity in zip(keys, entities, strict=True):
        assert len(key) <= 511
        assert key.startswith(rows.prefix)
        value = rows.value(key, entity, b"packed")
        assert rows.row(key, value) == (entity, b"packed")
        assert rows.raw(key, value) == b"packed"
        assert rows.raw(key, None) is None
