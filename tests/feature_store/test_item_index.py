"""The index of ids: every id gives its own row, whatever ids there are and however their hashes fall."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from feature_store import InvalidRow
from feature_store.entity import entity_key
from feature_store.item_index import ABSENT, HashedIds, IdIndex, _factor, text_hashes

TEXTS = st.text(st.characters(exclude_categories=[]), max_size=40)  # any character, lone surrogates too
IDS = st.one_of(TEXTS, st.integers(-(2**63), 2**63 - 1))


def rows_of(stored: list[str | int], wanted: list[str | int]) -> list[int]:
    """What an index over `stored` finds for `wanted`."""
    found: list[int] = IdIndex.build(HashedIds.of(stored)).find(HashedIds.of(wanted)).tolist()
    return found


@given(st.lists(IDS, max_size=60), st.lists(IDS, max_size=30))
def test_each_id_gives_its_latest_row_and_others_none(stored: list[str | int], others: list[str | int]) -> None:
    rows = {entity_key(entity_id): row for row, entity_id in enumerate(stored)}
    wanted = [*others, *stored]
    assert rows_of(stored, wanted) == [rows.get(entity_key(entity_id), ABSENT) for entity_id in wanted]


def test_numbers_and_their_texts_are_one_entity() -> None:
    assert rows_of(["5", 7, "-3"], [5, "7", -3, "05", 7]) == [0, 1, 2, ABSENT, 1]


def test_an_empty_index_finds_nothing() -> None:
    assert rows_of([], ["a", 1]) == [ABSENT, ABSENT]
    assert rows_of(["a"], []) == []


def test_what_is_no_id_is_refused() -> None:
    for wrong in (True, 2.0, None):
        with pytest.raises(InvalidRow):
            HashedIds.of(["a", wrong])  # type: ignore[list-item]


def colliding(num_texts: int) -> list[bytes]:
    """Different texts of two words with the same hash: what the second word adds makes up for the first."""
    texts = []
    for first in range(1, num_texts + 1):
        # hash = fold(w0) * f0 + fold(w1) * f1 + length; folding twice gives the word back
        wanted = -first * int(_factor(0)) * pow(int(_factor(1)), -1, 2**64) % 2**64
        words = [folded ^ (folded >> 32) for folded in (first, wanted)]
        texts.append(b"".join(word.to_bytes(8, "little") for word in words))
    return texts


@pytest.mark.parametrize("num_texts", [2, 3, 40])
def test_ids_with_the_same_hash_never_give_each_others_rows(num_texts: int) -> None:
    texts = colliding(num_texts + 1)
    hashes = text_hashes(pa.array(texts, pa.large_binary()))
    assert len(set(hashes.tolist())) == 1
    ordinary = [f"i{n}".encode() for n in range(11)]
    stored = pa.array([*texts[:-1], *ordinary, texts[0]], pa.large_binary())  # the last one is stored anew
    index = IdIndex.build(HashedIds(stored, text_hashes(stored)))
    wanted = pa.array([*texts, *ordinary], pa.large_binary())
    expected = [num_texts + 11, *range(1, num_texts), ABSENT, *range(num_texts, num_texts + 11)]
    assert index.find(HashedIds(wanted, text_hashes(wanted))).tolist() == expected


@given(st.lists(TEXTS, min_size=1, max_size=20), st.integers(0, 19))
def test_a_hash_depends_on_its_text_alone(texts: list[str], start: int) -> None:
    together = HashedIds.of(texts).hashes
    assert together.tolist() == [HashedIds.of([text]).hashes[0] for text in texts]
    array = HashedIds.of(texts).texts.slice(min(start, len(texts) - 1))
    assert text_hashes(array).tolist() == together[min(start, len(texts) - 1) :].tolist()


def test_hashes_of_numbered_ids_differ_and_are_spread_evenly() -> None:
    ids = [f"{kind}-{n:07}" for kind in ("item", "sku", "article") for n in range(20_000)]
    hashes = HashedIds.of(ids).hashes
    assert len(np.unique(hashes)) == len(ids)
    per_place = np.bincount((hashes >> np.uint64(64 - 8)).astype(np.int64), minlength=256)
    mean = len(ids) / 256
    assert abs(per_place - mean).max() < 6 * mean**0.5  # six deviations of a fair distribution
