"""The features that users had when the store last told: what is ranked with while it is away."""

from __future__ import annotations

from collections import OrderedDict

from feature_store import FeatureRow


class KnownUsers:
    """Rows of the users that were asked for last, up to a number.

    Args:
        max_users: More push out those that nobody asked for the longest; 0 keeps none.
    """

    def __init__(self, max_users: int) -> None:
        self._max_users = max_users
        self._rows: OrderedDict[str, FeatureRow] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def learn(self, user_id: str | int, row: FeatureRow | None) -> None:
        """Take over what the store told; `None`: that it has nothing about this user."""
        key = str(user_id)
        if row is None:
            self._rows.pop(key, None)
            return
        self._rows[key] = row
        self._rows.move_to_end(key)
        if len(self._rows) > self._max_users:
            self._rows.popitem(last=False)

    def get(self, user_id: str | int) -> FeatureRow | None:
        """The row that the user had; `None` if it is not known."""
        return self._rows.get(str(user_id))
