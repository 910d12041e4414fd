"""Packed rows: how one entity's features are laid out in bytes.

byte 0       format, 1
bytes 1-8    digest of the schema that the row was written with
bytes 9-16   event time, unix seconds, little-endian float64; NaN: none
bytes 17-24  expiry, unix seconds, likewise; infinity: never
bytes 25-    msgpack array: the values in the schema's column order, nil for null
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from feature_store.entity import EntityId
from feature_store.errors import InvalidRow, SchemaMismatch
from feature_store.view import ColumnType, ViewSchema

FORMAT = 1
_HEADER = struct.Struct("<B8sdd")
HEADER_BYTES = _HEADER.size

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


class FeatureRow(NamedTuple):
    """The features of one entity.

    Attributes:
        values: Value by column name, every column of the row's schema there; None is a null.
        event_time: When the values were true, unix seconds; None when the writer did not say.
        expires_at: From when on the row is missing, unix seconds; None when it stays.
    """

    values: dict[str, Any]
    event_time: float | None
    expires_at: float | None = None


class RowHeader(NamedTuple):
    """What is known about a packed row without unpacking its values."""

    format: int
    digest: bytes
    event_time: float
    expires_at: float


def read_header(raw: bytes) -> RowHeader:
    """The header of a packed row; only its first `HEADER_BYTES` bytes are needed."""
    return RowHeader._make(_HEADER.unpack_from(raw))


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
        return _HEADER.pack(FORMAT, self._schema.digest, self._event_time(entity_id, event_time), expires_at) + packed

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


class RowDecoder:
    """Unpacks the rows of one view, each by the schema that it was written with."""

    def __init__(self, view: str, schemas: Iterable[ViewSchema]) -> None:
        self._view = view
        self._names = {schema.digest: schema.names for schema in schemas}
        self._unpack = msgspec.msgpack.Decoder(list).decode

    def decode_many(
        self, ids: Sequence[EntityId], raws: Sequence[bytes | None], now: float, oldest: float | None = None
    ) -> list[FeatureRow | None]:
        """Rows in the order given; None where there is none, or it expired by `now`, or is older than `oldest`.

        Raises:
            SchemaMismatch: A row's schema is not known here, or its bytes are not a row.
        """
        rows: list[FeatureRow | None] = []
        for entity_id, raw in zip(ids, raws, strict=True):
            rows.append(None if raw is None else self._decode(entity_id, raw, now, oldest))
        return rows

    def _decode(self, entity_id: EntityId, raw: bytes, now: float, oldest: float | None) -> FeatureRow | None:
        try:
            version, digest, event_time, expires_at = _HEADER.unpack_from(raw)
            names = self._names.get(digest)
            if version != FORMAT or names is None:
                raise SchemaMismatch(
                    f"view '{self._view}', entity '{entity_id}': the row has format {version} and schema "
                    f"{digest.hex()}, known are format {FORMAT} and schemas {[known.hex() for known in self._names]}; "
                    "materialize the view again"
                )
            if expires_at <= now or (oldest is not None and not event_time >= oldest):  # NaN, no event time, is too old
                return None
            values = dict(zip(names, self._unpack(raw[HEADER_BYTES:]), strict=True))
        except (struct.error, msgspec.DecodeError, ValueError) as exc:
            raise SchemaMismatch(
                f"view '{self._view}', entity '{entity_id}': the stored bytes are not a packed row ({exc}); "
                "materialize the view again"
            ) from exc
        event = None if event_time != event_time else event_time
        return FeatureRow(values, event, None if expires_at == math.inf else expires_at)


def _nan_as_null(value: Any) -> Any:
    if isinstance(value, list):
        return [None if isinstance(element, float) and math.isnan(element) else element for element in value]
    return None if isinstance(value, float) and math.isnan(value) else value
