"""Batches carry labels and masks in the tasks' order, and are made ahead by a thread that ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, strategies as st

from ranker.encoding import Encoder
from ranker.errors import DataError
from training.batches import ahead, encode_batch, part_of


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_labels_and_masks(encoder: Encoder, log_table: pa.Table) -> None:
    rows = log_table.slice(11, 37)
    batch = encode_batch(encoder, rows)
    click, buy = (rows[name].to_numpy() for name in ("click", "buy"))
    assert batch.targets.labels_BT.dtype == torch.float32
    assert batch.targets.mask_BT[:, 0].all()
    assert batch.targets.mask_BT[:, 1].tolist() == (click == 1).tolist()
    assert batch.targets.mask_BT[:, 2].tolist() == [value is not None for value in rows["spend"].to_pylist()]
    assert batch.targets.labels_BT[:, 0].tolist() == click.tolist()
    assert batch.targets.labels_BT[:, 1].tolist() == (click * buy).tolist()
    assert batch.targets.labels_BT.isfinite().all()
    assert batch.rows is rows
    for found, expected in zip(batch.encoded.item, encoder.encode_side(rows, "item"), strict=True):
        assert torch.equal(found, expected)


@given(num_rows=st.integers(0, 40), num_parts=st.integers(1, 7))
def test_parts_are_the_whole_in_order(num_rows: int, num_parts: int) -> None:
    rows = pa.table({"n": np.arange(num_rows)})
    parts = [part_of(rows, rank, num_parts)["n"].to_pylist() for rank in range(num_parts)]
    assert [n for part in parts for n in part] == list(range(num_rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("depth", [1, 3, 100])
def test_ahead_gives_the_same_items(depth: int) -> None:
    assert list(ahead(range(57), depth)) == list(range(57))
    assert list(ahead([], depth)) == []
    assert list(ahead([None, 3, None], depth)) == [None, 3, None]
    assert threads() == []


def test_thread_ends_when_the_consumer_stops() -> None:
    made = 0

    def endless() -> Iterator[int]:
        nonlocal made
        while True:
            made += 1
            yield made

    items = ahead(endless(), depth=2)
    assert [next(items), next(items)] == [1, 2]
    assert len(threads()) == 1
    items.close()  # type: ignore[attr-defined]  # a generator, of which only the iterator is promised
    assert threads() == []
    assert made <= 2 + 2 + 2  # taken, held, and in the making on both sides


def test_an_error_surfaces_where_it_is_seen() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError("column 'x' is missing")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(DataError, match="column 'x' is missing"):
        next(items)
    assert threads() == []


def test_an_error_of_the_consumer_ends_the_thread() -> None:
    def consume() -> None:
        for item in ahead(range(1000), depth=1):
            if item == 3:
                raise KeyError(item)

    with pytest.raises(KeyError):
        consume()
    assert threads() == []
