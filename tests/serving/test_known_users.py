"""Users whose features are remembered: the last asked for, as the store last told them."""

from __future__ import annotations

from hypothesis import given, strategies as st

from feature_store import FeatureRow
from serving.known_users import KnownUsers


def row(number: int) -> FeatureRow:
    """A row that can be told from others."""
    return FeatureRow({"age": float(number)}, None)


def test_the_longest_unasked_goes_first() -> None:
    users = KnownUsers(2)
    for user in ("a", "b", "a", "c"):
        users.learn(user, row(ord(user)))
    assert [users.get(user) is not None for user in ("a", "b", "c")] == [True, False, True]


def test_an_integer_and_its_text_are_one_user() -> None:
    users = KnownUsers(3)
    users.learn(5, row(1))
    users.learn("5", row(2))
    assert users.get(5) == users.get("5") == row(2)
    assert len(users) == 1


def test_a_user_that_the_store_has_lost_is_forgotten() -> None:
    users = KnownUsers(3)
    users.learn("a", row(1))
    users.learn("a", None)
    assert users.get("a") is None


@given(st.integers(0, 4), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=50))
def test_it_never_holds_more_than_it_may(max_users: int, events: list[tuple[int, bool]]) -> None:
    users = KnownUsers(max_users)
    for user, known in events:
        users.learn(user, row(user) if known else None)
        assert len(users) <= max_users
