"""Batches carry labels and masks in the tasks' order; rows taken from encoded ones are those rows encoded."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings, strategies as st

from ranker.encoding import Encoder
from training.batches import Batch, EncodedRows, encode_batch


def assert_same(found: Batch, expected: Batch) -> None:
    for one, other in zip(
        (*found.encoded.request, *found.encoded.item, *found.targets[:2]),
        (*expected.encoded.request, *expected.encoded.item, *expected.targets[:2]),
        strict=True,
    ):
        assert one.dtype == other.dtype
        assert one.is_contiguous()
        assert torch.equal(one, other)
    names = [[batch.names.name(row) for row in range(batch.num_rows)] for batch in (found, expected)]
    assert names[0] == names[1]


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
    assert batch.num_rows == 37
    user, item, request, time = (rows[name][2].as_py() for name in ("user_id", "item_id", "request_id", "time"))
    assert batch.names.name(2) == f"user_id={user}, item_id={item}, request_id={request}, time={time}"
    for found, expected in zip(batch.encoded.item, encoder.encode_side(rows, "item"), strict=True):
        assert torch.equal(found, expected)


@settings(deadline=None)
@given(places=st.lists(st.integers(0, 40), max_size=30))
def test_rows_taken_are_those_rows_encoded(places: list[int], encoder: Encoder, log_table: pa.Table) -> None:
    rows = log_table.slice(100, 41)
    taken = EncodedRows.encode(encoder, rows).take(np.array(places, np.int64)).batch()
    assert_same(taken, encode_batch(encoder, rows.take(pa.array(places, pa.int64()))))


@settings(deadline=None)
@given(borders=st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_parts_put_together_are_the_whole(borders: list[int], encoder: Encoder, log_table: pa.Table) -> None:
    borders = sorted({0, *borders})
    parts = [log_table.slice(start, stop - start) for start, stop in zip(borders, [*borders[1:], 61], strict=True)]
    together = EncodedRows.concat([EncodedRows.encode(encoder, part) for part in parts])
    assert_same(together.batch(), encode_batch(encoder, log_table.slice(0, 61)))


@pytest.mark.parametrize("num_clean", [0, 3, 11])
def test_the_last_rows_are_the_trusted_ones(num_clean: int, encoder: Encoder, log_table: pa.Table) -> None:
    batch = encode_batch(encoder, log_table.slice(0, 11), num_clean)
    assert batch.targets.clean_B is not None
    assert batch.targets.clean_B.tolist() == [False] * (11 - num_clean) + [True] * num_clean
    assert batch.num_clean == num_clean
    assert encode_batch(encoder, log_table.slice(0, 11)).num_clean == 0


@pytest.mark.parametrize("num_clean", [None, 3])
def test_a_batch_moves_as_a_whole(num_clean: int | None, encoder: Encoder, log_table: pa.Table) -> None:
    batch = encode_batch(encoder, log_table.slice(0, 11), num_clean)
    moved = batch.to(torch.device("meta"))
    for found, expected in zip((*moved.encoded, moved.targets), (*batch.encoded, batch.targets), strict=True):
        for one, other in zip(found, expected, strict=True):
            if one is None or other is None:
                assert one is other
            else:
                assert (one.device.type, one.shape, one.dtype) == ("meta", other.shape, other.dtype)
    assert_same(batch.to(torch.device("cpu")), batch)
