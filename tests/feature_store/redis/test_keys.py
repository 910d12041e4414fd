"""Names of keys: each entity has one, no two share it, and buckets of a cluster are spread evenly."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, strategies as st
from redis.crc import key_slot

from feature_store.redis.keys import NUM_CLUSTER_BUCKETS, KeySpace

ENTITIES = st.lists(st.binary(min_size=1, max_size=9) | st.sampled_from([b"{1}:a", b"}:", b"{", b"views"]), unique=True)


@given(ENTITIES, st.booleans())
def test_a_key_tells_its_entity(entities: list[bytes], is_cluster: bool) -> None:
    keys = KeySpace("shop", is_cluster)
    stored = {view: keys.rows(view, entities) for view in ("item", "item2")}
    for view, of_view in stored.items():
        assert [keys.entity(view, key) for key in of_view] == entities
    everything = [*stored["item"], *stored["item2"], *keys.logs("item"), *keys.logs("item2"), keys.catalog]
    assert len(everything) == len(set(everything))


@given(ENTITIES, st.integers(1, 5))
def test_a_step_is_rows_of_one_slot_with_their_log(entities: list[bytes], limit: int) -> None:
    keys = KeySpace("shop", True)
    logs = keys.logs("item")
    rows = [(entity, number) for number, entity in enumerate(entities)]
    seen = []
    for bucket, step in keys.steps(rows, limit):
        assert 0 < len(step) <= limit
        assert {key_slot(key) for key in keys.rows("item", [entity for entity, _ in step])} == {key_slot(logs[bucket])}
        assert [number for _, number in step] == sorted(number for _, number in step)
        seen += step
    assert sorted(seen) == sorted(rows)


@pytest.mark.parametrize("num_nodes", [3, 5, 16, 64])
def test_buckets_are_spread_evenly_over_nodes(num_nodes: int) -> None:
    slots = [key_slot(log) for log in KeySpace("shop", True).logs("item")]
    nodes = Counter(slot * num_nodes // 16_384 for slot in slots)
    assert len(nodes) == num_nodes
    assert max(nodes.values()) - min(nodes.values()) <= 1
    assert sum(nodes.values()) == NUM_CLUSTER_BUCKETS


def test_one_server_has_one_log_and_plain_keys() -> None:
    keys = KeySpace("shop", False)
    assert (keys.num_buckets, keys.logs("item")) == (1, [b"shop:changes/item"])
    assert keys.rows("item", [b"a:b"]) == [b"shop:item:a:b"]
    assert [step for _, step in keys.steps([(b"%d" % n, n) for n in range(5)], 2)] == [
        [(b"0", 0), (b"1", 1)],
        [(b"2", 2), (b"3", 3)],
        [(b"4", 4)],
    ]
