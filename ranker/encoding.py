"""Raw values to tensors, for training and for serving: the only code in the project that does it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from ranker import columns as raw
from ranker.columns import Columns
from ranker.encoded import Bag, Encoded, EncodedColumns, SideColumns, SideTensors, TableRows
from ranker.errors import DataError
from ranker.id_maps import MISSING_ID, HashMap, IdMap, VocabularyMap, lookup, lookup_integers
from ranker.numeric_maps import NumericMap
from ranker.row_encoder import RowEncoder
from ranker.schema import (
    CategoricalFeature,
    CategoricalListFeature,
    FeatureSpec,
    Hashing,
    NumericFeature,
    Schema,
    Vocabulary,
    table_name,
)
from ranker.seen import Seen, table_encodings

__all__ = ["MODEL_SIDES", "Encoded", "Encoder", "ModelSide", "SideTensors", "num_numeric_inputs"]

ModelSide = Literal["request", "item"]
MODEL_SIDES: tuple[ModelSide, ...] = ("request", "item")
_NUMERIC_FILE = "numeric.json"
_VOCABULARIES = "vocabularies"


class Encoder:
    """Raw columns to id and value tensors, as learnt from training rows.

    Row 0 of every table is for missing values, row 1 for values never seen (often enough) in training; a vocabulary may
    have overflow rows for these instead, which follow.

    Example:
        >>> schema = Schema.model_validate({
        ...     "features": [{"name": "brand", "side": "item", "kind": "categorical",
        ...                   "encoding": {"kind": "vocabulary", "min_count": 1}}],
        ...     "tasks": [{"name": "ctr", "label": "click"}]})
        >>> encoder = Encoder.fit(schema, [pa.table({"brand": ["a", "b", "a"]})])
        >>> encoder.encode_side({"brand": ["b", None, "new", "a"]}, "item").ids
        tensor([3, 0, 1, 2])
    """

    def __init__(
        self,
        schema: Schema,
        vocabularies: Mapping[str, VocabularyMap],
        numeric_maps: Mapping[str, NumericMap],
    ) -> None:
        self.schema = schema
        self.vocabularies = dict(vocabularies)
        self.numeric_maps = dict(numeric_maps)
        self._id_maps: dict[str, IdMap] = {**_hash_maps(schema), **self.vocabularies}
        self._features = {side: schema.side_features(side) for side in MODEL_SIDES}
        self._rows = {
            side: RowEncoder(features, self._id_maps, self.numeric_maps) for side, features in self._features.items()
        }

    @classmethod
    def fit(cls, schema: Schema, batches: Iterable[Columns]) -> Encoder:
        """Learn vocabularies and numeric statistics in one pass over training rows.

        Raises:
            DataError: A column is missing, of the wrong type, or null in every row.
        """
        seen = Seen(schema)
        for batch in batches:
            seen.add(batch)
        seen.refuse_null_columns()
        vocabularies = {
            table: VocabularyMap(counts.vocabulary(spec), spec.overflow_buckets or 0)
            for table, (spec, counts) in seen.counts.items()
        }
        return cls(schema, vocabularies, {name: stats.build() for name, stats in seen.stats.items()})

    def extend(self, batches: Iterable[Columns]) -> Encoder:
        """An encoder that also knows the new values of `batches`; every id given so far stays as it is.

        A new value needs `min_count` rows in `batches`; `max_size` bounds old and new values together. Numeric
        statistics stay, so that the model goes on reading the scale it was trained on.

        Raises:
            DataError: A column is missing or of the wrong type.
        """
        seen = Seen(self.schema)
        for batch in batches:
            seen.add(batch)
        vocabularies = {
            table: self.vocabularies[table].extended(
                counts.vocabulary(Vocabulary(min_count=spec.min_count)), spec.max_size
            )
            for table, (spec, counts) in seen.counts.items()
        }
        return Encoder(self.schema, vocabularies, self.numeric_maps)

    def encode(self, data: Columns) -> Encoded:
        """Both sides of the same rows; see `encode_side`."""
        return self.encode_columns(data).tensors()

    def encode_columns(self, data: Columns) -> EncodedColumns:
        """Both sides of the same rows, as columns that rows can be taken from; see `encode_side`."""
        return EncodedColumns(self.side_columns(data, "request"), self.side_columns(data, "item"))

    def encode_side(self, data: Columns, side: ModelSide) -> SideTensors:
        """The features of one side as tensors.

        Args:
            data: An Arrow table or record batch, a pandas frame, or a dict of columns.
            side: `request` for user and context features, `item` for item features.

        Raises:
            DataError: A column is missing or of the wrong type; names the column, the value and the fix.
        """
        return self.side_columns(data, side).tensors()

    def encode_row(self, row: Mapping[str, Any], side: ModelSide) -> SideTensors:
        """One row of one side: the same tensors as `encode_side` gives, many times as fast where values are plain.

        Args:
            row: A value for every raw column of the side.
            side: See `encode_side`.

        Raises:
            DataError: As `encode_side`.
        """
        try:
            return self._rows[side].encode(row)
        except (KeyError, DataError):  # columns read what else there is, or tell why it cannot be read
            return self.encode_side({name: [value] for name, value in row.items()}, side)

    def side_columns(self, data: Columns, side: ModelSide) -> SideColumns:
        """The features of one side as columns that rows can be taken from; see `encode_side`."""
        features = self._features[side]
        arrays = [raw.column(data, f.column, numeric=isinstance(f, NumericFeature)) for f in features]
        num_rows = _common_length(features, arrays) if arrays else raw.num_rows(data)
        bags: list[Bag] = []
        numeric: list[npt.NDArray[np.float64] | npt.NDArray[np.bool_]] = []
        for feature, array in zip(features, arrays, strict=True):
            if not isinstance(feature, NumericFeature):
                bags.append(self._look_up(feature, array))
                continue
            values = raw.numbers(feature.column, array)
            if feature.bucketized:
                bags.append(Bag(self.numeric_maps[feature.name].rows(feature, values).astype(np.int32)))
            else:
                numeric.append(self.numeric_maps[feature.name].values(feature, values))
                numeric.extend([np.isnan(values)] if feature.missing_indicator else [])
        return SideColumns(tuple(bags), _side_by_side(numeric, num_rows))

    @property
    def num_embeddings(self) -> dict[str, int]:
        """Rows of every embedding table, the reserved ones included."""
        sizes = {table: id_map.num_rows for table, id_map in self._id_maps.items()}
        for feature in self.schema.features:
            if isinstance(feature, NumericFeature) and feature.bucketized:
                sizes[feature.name] = self.numeric_maps[feature.name].num_rows
        return sizes

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change whenever any value could be encoded differently."""
        parts = [self.schema.fingerprint, self._numeric_json().decode()]
        parts += [f"{table}={self.vocabularies[table].digest()}" for table in sorted(self.vocabularies)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def save(self, folder: Path) -> None:
        """Write the encoder as plain files: one Parquet file per vocabulary, one JSON file of statistics."""
        (folder / _VOCABULARIES).mkdir(parents=True)
        for table, vocabulary in self.vocabularies.items():
            pq.write_table(pa.table({"value": vocabulary.values}), folder / _VOCABULARIES / f"{table}.parquet")
        (folder / _NUMERIC_FILE).write_bytes(self._numeric_json())

    @classmethod
    def load(cls, folder: Path, schema: Schema) -> Encoder:
        """Read what `save` wrote.

        Raises:
            DataError: A file is missing or unreadable.
        """
        try:
            numeric_maps = _NUMERIC_MAPS.validate_json((folder / _NUMERIC_FILE).read_bytes())
            specs = {table: spec for table, spec in table_encodings(schema).items() if isinstance(spec, Vocabulary)}
            vocabularies = {table: _read_vocabulary(folder, table, spec) for table, spec in specs.items()}
        except (OSError, pa.ArrowException, KeyError, ValueError) as exc:
            raise DataError(f"encoder in '{folder}' cannot be read: {exc}; restore it from a published bundle") from exc
        if wrong := numeric_maps.keys() ^ {f.name for f in schema.features if isinstance(f, NumericFeature)}:
            raise DataError(
                f"encoder in '{folder}' must have the numeric features of its schema, they differ in {sorted(wrong)}; "
                "load it with the schema it was fitted on"
            )
        return cls(schema, vocabularies, numeric_maps)

    def _look_up(self, feature: CategoricalFeature | CategoricalListFeature, array: pa.Array) -> Bag:
        """Table rows of one categorical feature."""
        if isinstance(feature, CategoricalFeature):
            return Bag(self._table_rows(feature, array))
        values, lengths, missing = raw.lists(feature.column, array, feature.max_length)
        ids = self._table_rows(feature, values)
        if missing.any():  # a missing list is one missing value; an empty list is no value
            ids = np.insert(ids, (np.cumsum(lengths) - lengths)[missing], MISSING_ID)
            lengths = np.where(missing, 1, lengths)
        return Bag.of_lengths(ids, lengths)

    def _table_rows(self, feature: CategoricalFeature | CategoricalListFeature, values: pa.Array) -> TableRows:
        id_map = self._id_maps[table_name(feature)]
        kind = values.type
        if pa.types.is_null(kind):
            return np.full(len(values), MISSING_ID, np.int32)
        if isinstance(id_map, VocabularyMap) and pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
            return lookup_integers(values, id_map)
        return lookup(raw.text(feature.column, values), id_map)

    def _numeric_json(self) -> bytes:
        return _NUMERIC_MAPS.dump_json(dict(sorted(self.numeric_maps.items())), indent=1)


_NUMERIC_MAPS = TypeAdapter(dict[str, NumericMap])


def _read_vocabulary(folder: Path, table: str, spec: Vocabulary) -> VocabularyMap:
    # ParquetFile, since read_table would take "key=value" folders above the file for columns
    with pq.ParquetFile(folder / _VOCABULARIES / f"{table}.parquet") as file:
        values = file.read().column("value").combine_chunks()
    if values.type != pa.string() or values.null_count:
        raise ValueError(f"vocabulary '{table}' must hold strings without null, got {values.type}")
    return VocabularyMap(values, spec.overflow_buckets or 0)


def num_numeric_inputs(schema: Schema, side: ModelSide) -> int:
    """Columns of `SideTensors.numeric_BN` for one side."""
    plain = [f for f in schema.side_features(side) if isinstance(f, NumericFeature) and not f.bucketized]
    return sum(1 + feature.missing_indicator for feature in plain)


def _common_length(features: tuple[FeatureSpec, ...], arrays: list[pa.Array]) -> int:
    for feature, array in zip(features, arrays, strict=True):
        if len(array) != len(arrays[0]):
            raise DataError(
                f"columns must be of one length, got {len(arrays[0])} rows in '{features[0].column}' and {len(array)} "
                f"in '{feature.column}'; fill up with null"
            )
    return len(arrays[0])


def _side_by_side(
    inputs: Sequence[npt.NDArray[np.float64] | npt.NDArray[np.bool_]], num_rows: int
) -> npt.NDArray[np.float32]:
    """Model inputs side by side, [num_rows, len(inputs)]."""
    result = np.empty((num_rows, len(inputs)), np.float32)
    for place, values in enumerate(inputs):
        result[:, place] = values
    return result


def _hash_maps(schema: Schema) -> dict[str, IdMap]:
    return {
        table: HashMap(spec.num_buckets) for table, spec in table_encodings(schema).items() if isinstance(spec, Hashing)
    }
