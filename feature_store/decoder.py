"""Packed rows back into values, as rows or as columns."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from feature_store.entity import EntityId
from feature_store.errors import SchemaMismatch
from feature_store.rows import FORMAT, HEADER, FeatureRow, RowHeader, read_header
from feature_store.view import ViewSchema

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError)

_HEADERS = np.dtype([("format", "u1"), ("digest", "<u8"), ("event_time", "<f8"), ("expires_at", "<f8")])

_unpack_row = msgspec.msgpack.Decoder(list).decode
_unpack_rows = msgspec.msgpack.Decoder(list[list[Any]]).decode


class FeatureColumns(NamedTuple):
    """The features of many entities, column by column.

    Attributes:
        values: By column name, one value per entity asked for; None is a null, or stands for an entity without a row.
        present: Whether each entity has a row.
    """

    values: Mapping[str, Sequence[Any]]
    present: Sequence[bool]


class _Readable(NamedTuple):
    """The rows there are to unpack, of those asked for: neither missing, nor expired, nor too old.

    Attributes:
        present: Which of those asked for.
        headers: Their headers, array of `_HEADERS`.
        bodies: Their packed values.
        names: Their columns.
    """

    present: list[bool]
    headers: npt.NDArray[np.void]
    bodies: list[bytes]
    names: list[tuple[str, ...]]


class RowDecoder:
    """Unpacks the rows of one view, each by the schema that it was written with."""

    def __init__(self, view: str, schemas: Iterable[ViewSchema]) -> None:
        self._view = view
        self._names = {int.from_bytes(schema.digest, "little"): schema.names for schema in schemas}

    def decode_many(
        self, ids: Sequence[EntityId], raws: Sequence[bytes | None], now: float, oldest: float | None = None
    ) -> list[FeatureRow | None]:
        """Rows in the order given; None where there is none, or it expired by `now`, or is older than `oldest`.

        Raises:
            SchemaMismatch: A row's schema is not known here, or its bytes are not a row.
        """
        found = self._readable(ids, raws, now, oldest)
        times = zip(found.headers["event_time"].tolist(), found.headers["expires_at"].tolist(), strict=True)
        rows = map(_row, found.names, self._values(ids, found), times)
        return [next(rows) if is_there else None for is_there in found.present]

    def decode_columns(
        self,
        names: Sequence[str],
        ids: Sequence[EntityId],
        raws: Sequence[bytes | None],
        now: float,
        oldest: float | None = None,
    ) -> FeatureColumns:
        """The same rows column by column, which takes half the time; a column that a row lacks is null in it.

        Raises:
            SchemaMismatch: A row's schema is not known here, or its bytes are not a row.
        """
        found = self._readable(ids, raws, now, oldest)
        rows = self._values(ids, found)
        if len(schemas := set(found.names)) == 1:
            values: Mapping[str, Sequence[Any]] = dict(zip(*schemas, zip(*rows, strict=True), strict=True))
        else:
            named = [dict(zip(*each, strict=True)) for each in zip(found.names, rows, strict=True)]
            values = {name: [row.get(name) for row in named] for name in names}
        nothing = (None,) * len(rows)
        columns = {name: _spread(values.get(name, nothing), found.present) for name in names}
        return FeatureColumns(columns, found.present)

    def _readable(
        self, ids: Sequence[EntityId], raws: Sequence[bytes | None], now: float, oldest: float | None
    ) -> _Readable:
        there = [raw for raw in raws if raw is not None]
        joined = b"".join([raw[: HEADER.size] for raw in there])
        if len(joined) != HEADER.size * len(there):
            raise self._refused(ids, raws)
        headers = np.frombuffer(joined, _HEADERS)
        digests = headers["digest"].tolist()
        if not self._names.keys() >= set(digests) or not (headers["format"] == FORMAT).all():
            raise self._refused(ids, raws)
        is_kept = headers["expires_at"] > now
        if oldest is not None:
            is_kept &= headers["event_time"] >= oldest  # NaN, no event time, is too old
        kept = is_kept.tolist()
        return _Readable(
            kept if len(there) == len(raws) else _spread_flags(kept, raws),
            headers[is_kept],
            [raw[HEADER.size :] for raw, keep in zip(there, kept, strict=True) if keep],
            [self._names[digest] for digest, keep in zip(digests, kept, strict=True) if keep],
        )

    def _values(self, ids: Sequence[EntityId], found: _Readable) -> list[list[Any]]:
        """The values of each row: unpacked as one array of rows, or, if that fails, one by one, to name the broken."""
        try:
            rows = _unpack_rows(b"".join([b"\xdd", len(found.bodies).to_bytes(4, "big"), *found.bodies]))
        except _BROKEN:
            rows = []
        if list(map(len, rows)) == list(map(len, found.names)):
            return rows
        there = [entity_id for entity_id, is_there in zip(ids, found.present, strict=True) if is_there]
        return list(map(self._row_values, there, found.bodies, found.names))

    def _row_values(self, entity_id: EntityId, body: bytes, names: tuple[str, ...]) -> list[Any]:
        try:
            values: list[Any] = _unpack_row(body)
        except _BROKEN as exc:
            raise self._broken(entity_id, str(exc)) from exc
        if len(values) != len(names):
            raise self._broken(entity_id, f"{len(values)} values for {len(names)} columns")
        return values

    def _refused(self, ids: Sequence[EntityId], raws: Sequence[bytes | None]) -> SchemaMismatch:
        """The error of the first row whose header cannot be used."""
        for entity_id, raw in zip(ids, raws, strict=True):
            if raw is None:
                continue
            try:
                header = read_header(raw)
            except struct.error as exc:
                return self._broken(entity_id, str(exc))
            if header.format != FORMAT or int.from_bytes(header.digest, "little") not in self._names:
                return self._unknown(entity_id, header)
        raise AssertionError("each header can be used")

    def _broken(self, entity_id: EntityId, cause: str) -> SchemaMismatch:
        return SchemaMismatch(
            f"view '{self._view}', entity '{entity_id}': the stored bytes are not a packed row ({cause}); "
            "materialize the view again"
        )

    def _unknown(self, entity_id: EntityId, header: RowHeader) -> SchemaMismatch:
        known = [digest.to_bytes(8, "little").hex() for digest in self._names]
        return SchemaMismatch(
            f"view '{self._view}', entity '{entity_id}': the row has format {header.format} and schema "
            f"{header.digest.hex()}, known are format {FORMAT} and schemas {known}; materialize the view again"
        )


def _row(names: tuple[str, ...], values: list[Any], times: tuple[float, float]) -> FeatureRow:
    event_time, expires_at = times
    return FeatureRow(
        dict(zip(names, values, strict=True)),
        None if event_time != event_time else event_time,
        None if expires_at == math.inf else expires_at,
    )


def _spread_flags(kept: Sequence[bool], raws: Sequence[bytes | None]) -> list[bool]:
    flags = iter(kept)
    return [raw is not None and next(flags) for raw in raws]


def _spread(column: Sequence[Any], present: Sequence[bool]) -> Sequence[Any]:
    """A column of the rows that are there, with None where one is not."""
    if len(column) == len(present):
        return column
    values = iter(column)
    return [next(values) if is_there else None for is_there in present]
