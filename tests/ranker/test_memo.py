"""What is remembered is what was computed, and it never grows without bound."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ranker.memo import Memo

KEYS = st.integers(0, 9) | st.sampled_from(["3", "7", "", "ü"])


def lengths(keys: list[int | str]) -> list[tuple[str, int]]:
    """Values that tell an integer from its text."""
    return [(type(key).__name__, len(str(key))) for key in keys]


@given(st.lists(st.lists(KEYS, max_size=12), max_size=8), st.integers(0, 7))
def test_it_gives_what_is_computed(rounds: list[list[int | str]], max_keys: int) -> None:
    memo = Memo(lengths, max_keys)
    for keys in rounds:
        assert memo.get(keys) == lengths(keys)
        assert len(memo) <= max_keys


def test_what_is_known_is_not_computed_again() -> None:
    asked: list[list[str]] = []

    def upper(keys: list[str]) -> list[str]:
        asked.append(keys)
        return [key.upper() for key in keys]

    memo = Memo(upper, max_keys=5)
    assert memo.get(["a", "b"]) == ["A", "B"]
    assert memo.get(["b", "c", "a"]) == ["B", "C", "A"]
    assert memo.get(["c", "a", "b", "a"]) == ["C", "A", "B", "A"]
    assert asked == [["a", "b"], ["c"]]


def test_more_than_it_may_remember_are_computed_each_time() -> None:
    asked: list[list[int]] = []

    def same(keys: list[int]) -> list[int]:
        asked.append(keys)
        return keys

    memo = Memo(same, max_keys=2)
    assert memo.get([1]) == [1]
    assert memo.get([2, 1, 4]) == memo.get([2, 1, 4]) == [2, 1, 4]
    assert memo.get([1]) == [1]
    assert asked == [[1], [2, 1, 4], [2, 1, 4]]
