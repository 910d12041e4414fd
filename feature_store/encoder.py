"""Values into packed rows, checked against a schema."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from feature_store.entity import EntityId
from feature_store.errors import InvalidRow
from feature_store.rows import FORMAT, HEADER
from feature_store.view import ColumnType, ViewSchema

# The bounds refuse infinities and send NaN to the slow path, which makes it null.
_FLOAT = Annotated[float, msgspec.Meta(ge=-1.7976931348623157e308, le=1.7976931348623157e308)]
_ACCEPTED: dict[ColumnType, Any] = {
    "int": int | None,
    "float": _FLOAT | None,
    "bool": bool | None,
    "string": str | None,
    "int_list": list[int | None] | None,
    "float_list": list[_FLOAT | None] | None,
    "string_list": list[str | None] | None,
}
_REFUSED = (msgspec.ValidationError, OverflowError, UnicodeEncodeError)


class RowEncoder:
    """Checks rows against a schema and packs them."""

    def __init__(self, schema: ViewSchema) -> None:
        self._schema = schema
        self._known = frozenset(schema.names)
        # A struct type, because msgspec prepares those once and any other type anew for every row.
        fields = [(f"column_{n}", _ACCEPTED[column.type]) for n, column in enumerate(schema.columns)]
        self._accepted = msgspec.defstruct("PackedRow", fields, array_like=True)
        self._pack = msgspec.msgpack.Encoder().encode

    def encode(
        self, entity_id: EntityId, values: Mapping[str, Any], event_time: float | None, expires_at: float = math.inf
    ) -> bytes:
        """One packed row. A column that `values` does not name is null.

        Raises:
            InvalidRow: An unknown column, a value of the wrong type, an infinite number, an integer over 64 bits.
        """
        if not values.keys() <= self._known:
            unknown = sorted(values.keys() - self._known)
            raise InvalidRow(
                f"{self._at(entity_id)}: column '{unknown[0]}' (value {values[unknown[0]]!r:.100}) must be one of "
                f"{list(self._schema.names)}; correct the name, or materialize with the new column first"
            )
        listed = [values.get(name) for name in self._schema.names]
        try:
            packed = self._pack(msgspec.convert(listed, self._accepted))
        except _REFUSED:  # find the culprit, or the NaN that is merely a null
            packed = self._pack(self._checked(entity_id, listed))
        return HEADER.pack(FORMAT, self._schema.digest, self._event_time(entity_id, event_time), expires_at) + packed

    def _checked(self, entity_id: EntityId, listed: Sequence[Any]) -> list[Any]:
        checked = []
        for column, value in zip(self._schema.columns, listed, strict=True):
            try:
                checked.append(msgspec.convert(_nan_as_null(value), _ACCEPTED[column.type]))
                self._pack(checked[-1])
            except _REFUSED as exc:
                raise InvalidRow(
                    f"{self._at(entity_id)}: column '{column.name}' must be {column.type.replace('_', ' ')} or "
                    f"null, got {value!r:.100} ({type(value).__name__}): {exc}; convert it, or use null for unknown"
                ) from exc
        return checked

    def _event_time(self, entity_id: EntityId, event_time: Any) -> float:
        if event_time is None:
            return math.nan
        is_number = isinstance(event_time, (int, float)) and not isinstance(event_time, bool)
        if not is_number or not abs(event_time) < 1e300:  # NaN compares false
            raise InvalidRow(
                f"{self._at(entity_id)}: event time must be finite unix seconds or None, got {event_time!r}; convert it"
            )
        return float(event_time)

    def _at(self, entity_id: EntityId) -> str:
        return f"view '{self._schema.view}', entity '{entity_id}'"


def _nan_as_null(value: Any) -> Any:
    if isinstance(value, list):
        return [None if isinstance(element, float) and math.isnan(element) else element for element in value]
    return None if isinstance(value, float) and math.isnan(value) else value
