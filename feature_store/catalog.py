"""The schemas that a store holds: the current one of each view, and all that its rows were ever written with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from feature_store.decoder import RowDecoder
from feature_store.errors import UnknownView
from feature_store.view import ViewSchema


class Catalog:
    """What was read from a store at one moment.

    Args:
        fields: `view` -> hash of its current schema, `view/hash` -> that schema as JSON.
    """

    def __init__(self, fields: Mapping[str, bytes]) -> None:
        self._fields = fields

    @property
    def views(self) -> tuple[str, ...]:
        """Names of all views, sorted."""
        return tuple(sorted(field for field in self._fields if "/" not in field))

    def current(self, view: str) -> ViewSchema:
        """The current schema of a view.

        Raises:
            UnknownView: No such view.
        """
        if view not in self._fields:
            raise UnknownView(f"view '{view}' is not in the store, which has {list(self.views)}; materialize it first")
        return self._parse(f"{view}/{self._fields[view].decode()}")

    def schemas(self, view: str) -> tuple[ViewSchema, ...]:
        """All schemas that a view ever had; none of an unknown view."""
        return tuple(self._parse(field) for field in self._fields if field.startswith(f"{view}/"))

    def decoder(self, view: str) -> RowDecoder:
        """Unpacks rows of every schema of a view.

        Raises:
            UnknownView: No such view.
        """
        self.current(view)
        return RowDecoder(view, self.schemas(view))

    def _parse(self, field: str) -> ViewSchema:
        return msgspec.json.decode(self._fields[field], type=ViewSchema)
