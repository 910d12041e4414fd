"""Vocabularies and hashing: which table row a value gets, today and after years of extensions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from ranker.id_maps import (
    MISSING_ID,
    NUM_RESERVED,
    UNKNOWN_ID,
    HashMap,
    ValueCounts,
    VocabularyMap,
    lookup,
    lookup_integers,
    text_hash,
)
from ranker.schema import Vocabulary

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
BATCHES = st.lists(st.lists(st.one_of(st.none(), st.text("abcd", max_size=2)), max_size=9), max_size=6)


def strings(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


def objects(*values: str) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    return np.array(values, dtype=object)


def is_integer(value: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", value) is not None and str(int(value)) == value


def vocabulary(batches: list[list[str | None]], spec: Vocabulary) -> list[str]:
    counts = ValueCounts()
    for batch in batches:
        counts.add(strings(*batch))
    found: list[str] = counts.vocabulary(spec).to_pylist()
    return found


# ------------------------------------------------------------------------------------------------------- hashing


def test_hashes_are_pinned() -> None:
    """A changed hash would silently scramble every hashed table of every model that is live."""
    assert text_hash(objects("", "5", "brand", "größe", "a\0b")).tolist() == [
        1760245841805064774,
        6701939878111629903,
        9000168206170392193,
        15817321650199146543,
        9592820463078313166,
    ]
    assert HashMap(1000).rows(objects("", "5", "brand", "größe", "a\0b")).tolist() == [776, 905, 195, 545, 168]


def test_hashing_knows_no_process() -> None:
    code = (
        "import numpy as np; from ranker.id_maps import HashMap; print(HashMap(997).rows(np.array(['x', 'y'], object)))"
    )
    environment = {"PYTHONHASHSEED": "12345", "OMP_NUM_THREADS": "1"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == str(HashMap(997).rows(objects("x", "y")))


@given(st.lists(WORDS), st.integers(1, 50))
def test_hash_rows_are_within_the_table_and_independent(values: list[str], num_buckets: int) -> None:
    id_map = HashMap(num_buckets)
    rows = id_map.rows(objects(*values)).tolist()
    assert all(NUM_RESERVED <= row < id_map.num_rows for row in rows)
    assert rows == [id_map.rows(objects(value))[0] for value in values]
    assert id_map.num_rows == num_buckets + NUM_RESERVED


def test_hash_spreads_evenly() -> None:
    rows = HashMap(10).rows(objects(*map(str, range(20_000))))
    counts = np.bincount(rows - NUM_RESERVED, minlength=10)
    assert counts.min() > 1800
    assert counts.max() < 2200


# -------------------------------------------------------------------------------------------------- vocabularies


@given(st.lists(WORDS, unique=True), st.lists(WORDS))
def test_row_is_the_place_in_the_vocabulary(known: list[str], asked: list[str]) -> None:
    id_map = VocabularyMap(strings(*known))
    expected = [known.index(value) + NUM_RESERVED if value in known else UNKNOWN_ID for value in asked]
    assert id_map.rows(objects(*asked)).tolist() == expected
    assert id_map.num_rows == len(known) + NUM_RESERVED


def test_large_vocabulary_finds_every_value_and_no_other() -> None:
    id_map = VocabularyMap(pa.array([f"user {number}" for number in range(100_000)]))
    asked = objects(*(f"user {number}" for number in range(0, 200_000, 1000)))
    expected = [number + NUM_RESERVED if number < 100_000 else UNKNOWN_ID for number in range(0, 200_000, 1000)]
    assert id_map.rows(asked).tolist() == expected


@given(st.lists(WORDS, unique=True), st.lists(WORDS, unique=True), st.one_of(st.none(), st.integers(1, 8)))
def test_extension_appends_and_keeps_every_row(known: list[str], new: list[str], max_size: int | None) -> None:
    before = VocabularyMap(strings(*known))
    after = before.extended(strings(*new), max_size)
    fresh = [value for value in new if value not in known]
    room = len(fresh) if max_size is None else max(max_size - len(known), 0)
    assert after.values.to_pylist() == known + fresh[:room]
    assert after.rows(objects(*known)).tolist() == before.rows(objects(*known)).tolist()


@given(st.lists(WORDS, unique=True), st.lists(WORDS), st.integers(1, 9))
def test_values_without_a_row_share_overflow_rows(known: list[str], asked: list[str], num_overflow: int) -> None:
    id_map = VocabularyMap(strings(*known), num_overflow)
    rows = id_map.rows(objects(*asked)).tolist()
    first = NUM_RESERVED + num_overflow
    assert id_map.num_rows == first + len(known)
    for value, row in zip(asked, rows, strict=True):
        if value in known:
            assert row == first + known.index(value)
        else:
            assert NUM_RESERVED <= row < first
            assert row == HashMap(num_overflow).rows(objects(value))[0]
    assert id_map.knows(objects(*asked)).tolist() == [value in known for value in asked]


@given(st.lists(WORDS, unique=True), st.lists(WORDS, unique=True), st.lists(WORDS), st.integers(0, 5))
def test_extension_moves_no_row_beside_those_of_new_values(
    known: list[str], new: list[str], asked: list[str], num_overflow: int
) -> None:
    before = VocabularyMap(strings(*known), num_overflow)
    after = before.extended(strings(*new), max_size=7)
    own = after.rows(objects(*after.values.to_pylist())).tolist()
    assert own == list(range(NUM_RESERVED + num_overflow, after.num_rows))
    assert after.num_overflow == num_overflow
    appended = set(after.values.to_pylist()) - set(known)
    for value, earlier, now in zip(asked, before.rows(objects(*asked)), after.rows(objects(*asked)), strict=True):
        assert (now >= before.num_rows) if value in appended else (now == earlier)


def test_overflow_spreads_evenly() -> None:
    id_map = VocabularyMap(strings("a", "b"), num_overflow=10)
    counts = np.bincount(id_map.rows(objects(*map(str, range(20_000)))), minlength=14)
    assert counts[[0, 1, 12, 13]].sum() == 0
    assert counts[2:12].min() > 1800
    assert counts[2:12].max() < 2200


@given(st.lists(WORDS, unique=True), st.lists(WORDS, unique=True))
def test_digest_tells_vocabularies_apart(one: list[str], other: list[str]) -> None:
    same = VocabularyMap(strings(*one)).digest() == VocabularyMap(strings(*other)).digest()
    assert same == (one == other)


def test_digest_sees_borders_and_order_but_not_offsets() -> None:
    digests = {
        VocabularyMap(strings(*values)).digest() for values in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], [])
    }
    assert len(digests) == 5
    assert (
        VocabularyMap(strings("x", "ab", "c", "y").slice(1, 2)).digest() == VocabularyMap(strings("ab", "c")).digest()
    )


# -------------------------------------------------------------------------------------------------------- counts


@given(BATCHES, st.integers(1, 3), st.one_of(st.none(), st.integers(1, 4)))
def test_vocabulary_is_the_frequent_values_in_order(
    batches: list[list[str | None]], min_count: int, max_size: int | None
) -> None:
    counts = Counter(value for batch in batches for value in batch if value is not None)
    ordered = sorted((-count, value) for value, count in counts.items() if count >= min_count)
    expected = [value for _, value in ordered][:max_size]
    assert vocabulary(batches, Vocabulary(min_count=min_count, max_size=max_size)) == expected


@given(BATCHES)
def test_vocabulary_does_not_depend_on_batches_or_their_order(batches: list[list[str | None]]) -> None:
    spec = Vocabulary(min_count=2)
    expected = vocabulary(batches, spec)
    assert vocabulary(batches[::-1], spec) == expected
    assert vocabulary([[value for batch in batches for value in batch]], spec) == expected


def test_merging_in_between_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranker.id_maps._MERGE_AT", 3)
    batches: list[list[str | None]] = [[str(number % 7), str(number % 5)] for number in range(100)]
    counts = Counter(value for batch in batches for value in batch)
    expected = sorted(counts, key=lambda value: (-counts[value], value or ""))
    assert vocabulary(batches, Vocabulary(min_count=1)) == expected


def test_dictionary_batches_count_as_plain_ones() -> None:
    counts = ValueCounts()
    counts.add(strings("a", None, "b", "a").dictionary_encode())
    counts.add(pa.DictionaryArray.from_arrays(pa.array([1, 1, None], pa.int8()), strings("unused", "b")))
    counts.add(strings("b"))
    assert counts.vocabulary(Vocabulary(min_count=1)).to_pylist() == ["b", "a"]
    assert counts.vocabulary(Vocabulary(min_count=4)).to_pylist() == ["b"]


# -------------------------------------------------------------------------------------------------------- lookup


@given(st.lists(st.one_of(st.none(), st.text("abc", max_size=2))), st.integers(0, 4))
def test_lookup_tells_missing_unknown_and_known_apart(values: list[str | None], start: int) -> None:
    known = ["a", "bb", ""]
    id_map = VocabularyMap(strings(*known))
    expected = [
        MISSING_ID if v is None else known.index(v) + NUM_RESERVED if v in known else UNKNOWN_ID for v in values[start:]
    ]
    for array in (strings(*values), strings(*values).dictionary_encode()):
        rows = lookup(array.slice(start), id_map)
        assert rows.dtype == np.int32
        assert rows.tolist() == expected


@given(
    st.sets(
        st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), st.integers(-9, 9).map(str), st.text("-01.", max_size=3))
    ),
    st.lists(st.one_of(st.none(), st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1))),
    st.integers(0, 3),
    st.data(),
)
def test_integers_get_the_rows_of_their_text(
    known: set[str], asked: list[int | None], num_overflow: int, data: st.DataObject
) -> None:
    values = sorted(known)
    asked += (
        [int(value) for value in data.draw(st.lists(st.sampled_from(values))) if is_integer(value)] if values else []
    )
    id_map = VocabularyMap(strings(*values), num_overflow)
    integers = pa.array(asked, pa.int64())
    assert lookup_integers(integers, id_map).tolist() == lookup(integers.cast(pa.string()), id_map).tolist()


@pytest.mark.parametrize("code", [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.int64()])
def test_lookup_of_every_code_type(code: pa.DataType) -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 1], code), strings("new", "b"))
    assert lookup(array, VocabularyMap(strings("a", "b"))).tolist() == [3, MISSING_ID, UNKNOWN_ID, 3]
