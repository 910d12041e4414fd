"""Sizes and a seed decide who reads which rows when: none lost, none twice, and as many steps for everybody."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings, strategies as st

from training.order import EpochOrder

COUNTS = st.lists(st.integers(0, 23), min_size=1, max_size=9)
SIZES = {"counts": COUNTS, "batch_size": st.integers(1, 17), "shuffle_rows": st.integers(1, 60)}


def order(
    counts: list[int], batch_size: int, shuffle_rows: int, seed: int = 3, rank: int = 0, world: int = 1
) -> EpochOrder:
    sizes = np.array(counts, np.int64)
    return EpochOrder(sizes, batch_size=batch_size, shuffle_rows=shuffle_rows, seed=seed, rank=rank, world=world)


def rows_of_share(share: EpochOrder, first: int = 0) -> list[tuple[int, int]]:
    """The share's rows as (row group, place in it)."""
    return [(piece.group, row) for piece in share.pieces(first) for row in range(piece.first, piece.stop)]


def steps(share: EpochOrder, start: int = 0) -> list[list[tuple[int, int]]]:
    """The rows of each step, as a reader puts them together that begins at `start`."""
    pools = list(share.pools(start))
    left = rows_of_share(share, pools[0].rows.start) if pools else []
    found = []
    for pool in pools:
        rows, left = left[: len(pool.rows)], left[len(pool.rows) :]
        places = share.shuffled(pool)
        found += [[rows[place] for place in places[share.rows_of(pool, step)]] for step in pool.steps if step >= start]
    return found


@settings(deadline=None)
@given(**SIZES, world=st.integers(1, 5))
def test_every_row_once_on_one_process(counts: list[int], batch_size: int, shuffle_rows: int, world: int) -> None:
    shares = [order(counts, batch_size, shuffle_rows, rank=rank, world=world) for rank in range(world)]
    everything = [row for share in shares for step in steps(share) for row in step]
    assert sorted(everything) == [(group, row) for group, count in enumerate(counts) for row in range(count)]
    assert [share.num_rows for share in shares] == [sum(map(len, steps(share))) for share in shares]


@settings(deadline=None)
@given(**SIZES, world=st.integers(1, 5))
def test_processes_take_equal_shares_in_equally_many_steps(
    counts: list[int], batch_size: int, shuffle_rows: int, world: int
) -> None:
    shares = [order(counts, batch_size, shuffle_rows, rank=rank, world=world) for rank in range(world)]
    sizes = [share.num_rows for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert (
        {share.num_steps for share in shares}
        == {len(steps(share)) for share in shares}
        == {-(-max(sizes) // batch_size)}
    )
    for share in shares:
        lengths = [len(step) for step in steps(share)]
        assert max(lengths, default=0) <= batch_size
        if share.num_rows >= share.num_steps:
            assert min(lengths, default=1) >= 1
        if share.num_rows == max(sizes):
            assert lengths[:-1] == [batch_size] * (share.num_steps - 1)


@settings(deadline=None)
@given(**SIZES, world=st.integers(1, 3), rank=st.integers(0, 2), start=st.integers(0, 70))
def test_steps_are_the_same_wherever_reading_begins(
    counts: list[int], batch_size: int, shuffle_rows: int, world: int, rank: int, start: int
) -> None:
    share = order(counts, batch_size, shuffle_rows, rank=rank % world, world=world)
    start = min(start, share.num_steps)
    assert steps(share, start) == steps(share)[start:]


def test_groups_before_the_first_pool_are_not_read() -> None:
    share = order([40] * 10, batch_size=5, shuffle_rows=20)
    pieces = list(share.pieces(next(share.pools(start=17)).rows.start))
    assert len(pieces) == 8
    assert pieces[0].first == 0


def test_only_processes_at_a_border_share_a_group() -> None:
    groups = [{piece.group for piece in order([31] * 8, 4, 50, rank=rank, world=3).pieces()} for rank in range(3)]
    assert sum(map(len, groups)) == 8 + 2
    assert groups[0] | groups[1] | groups[2] == set(range(8))


def test_pools_are_whole_steps() -> None:
    share = order([100], batch_size=7, shuffle_rows=30)
    assert [(pool.steps, pool.rows) for pool in share.pools()][:2] == [
        (range(4), range(28)),
        (range(4, 8), range(28, 56)),
    ]
    assert [len(pool.rows) for pool in order([100], batch_size=40, shuffle_rows=3).pools()] == [40, 40, 20]


def test_the_seed_decides_the_order_and_nothing_else_does() -> None:
    sizes = [11, 5, 0, 9, 13, 2]
    first = steps(order(sizes, 4, 12, seed=1))
    assert first == steps(order(sizes, 4, 12, seed=1))
    other = steps(order(sizes, 4, 12, seed=2))
    assert other != first
    assert {piece.group for piece in order(sizes, 4, 12).pieces()} == {0, 1, 3, 4, 5}
    in_order = [row for step in first for row in step]
    assert in_order != sorted(in_order)


def test_pools_are_shuffled_each_in_its_own_way() -> None:
    share, other = (order([64] * 4, 8, 16, rank=rank, world=2) for rank in range(2))
    orders = [tuple(o.shuffled(pool)) for o in (share, other) for pool in o.pools()]
    assert len(set(orders)) == len(orders) == 16
