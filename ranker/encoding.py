"""Raw values to tensors, for training and for serving: the only code in the project that does it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter
from torch import Tensor

from ranker import columns as raw
from ranker.columns import Columns
from ranker.errors import DataError
from ranker.id_maps import MISSING_ID, HashMap, IdMap, ValueCounts, VocabularyMap, lookup
from ranker.numeric_maps import NumericMap, NumericStats
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

# Shapes: B = rows, E = embedded features of the side, N = plain numeric inputs of the side

ModelSide = Literal["request", "item"]
MODEL_SIDES: tuple[ModelSide, ...] = ("request", "item")
Ids = npt.NDArray[np.int64]
_NO_IDS = np.empty(0, np.int64)
_NUMERIC_FILE = "numeric.json"
_VOCABULARIES = "vocabularies"


class SideTensors(NamedTuple):
    """One side of B rows, as the model reads it.

    Attributes:
        ids: Table rows, int64, flat and feature-major: all rows of the first embedded feature, then of the second.
        lengths: How many of `ids` belong to each (feature, row), int64 [E * B].
        numeric_BN: Plain numeric inputs, float32; missing indicators follow their feature.
    """

    ids: Tensor
    lengths: Tensor
    numeric_BN: Tensor


class Encoded(NamedTuple):
    """Both sides of the same rows: what a request has once (user, context), and what belongs to the item."""

    request: SideTensors
    item: SideTensors


class Encoder:
    """Raw columns to id and value tensors, as learnt from training rows.

    Row 0 of every table is for missing values, row 1 for values never seen (often enough) in training.

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

    @classmethod
    def fit(cls, schema: Schema, batches: Iterable[Columns]) -> Encoder:
        """Learn vocabularies and numeric statistics in one pass over training rows.

        Raises:
            DataError: A column is missing, of the wrong type, or null in every row.
        """
        seen = _Seen(schema)
        for batch in batches:
            seen.add(batch)
        seen.refuse_null_columns()
        vocabularies = {table: VocabularyMap(counts.vocabulary(spec)) for table, (spec, counts) in seen.counts.items()}
        return cls(schema, vocabularies, {name: stats.build() for name, stats in seen.stats.items()})

    def extend(self, batches: Iterable[Columns]) -> Encoder:
        """An encoder that also knows the new values of `batches`; every id given so far stays as it is.

        A new value needs `min_count` rows in `batches`; `max_size` bounds old and new values together. Numeric
        statistics stay, so that the model goes on reading the scale it was trained on.

        Raises:
            DataError: A column is missing or of the wrong type.
        """
        seen = _Seen(self.schema)
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
        return Encoded(self.encode_side(data, "request"), self.encode_side(data, "item"))

    def encode_side(self, data: Columns, side: ModelSide) -> SideTensors:
        """The features of one side as tensors.

        Args:
            data: An Arrow table or record batch, a pandas frame, or a dict of columns.
            side: `request` for user and context features, `item` for item features.

        Raises:
            DataError: A column is missing or of the wrong type; names the column, the value and the fix.
        """
        features = self._features[side]
        arrays = [raw.column(data, f.column, numeric=isinstance(f, NumericFeature)) for f in features]
        num_rows = _common_length(features, arrays) if arrays else raw.num_rows(data)
        bags: list[tuple[Ids, Ids]] = []
        numeric: list[npt.NDArray[np.float64] | npt.NDArray[np.bool_]] = []
        for feature, array in zip(features, arrays, strict=True):
            if not isinstance(feature, NumericFeature):
                bags.append(self._look_up(feature, array))
                continue
            values = raw.numbers(feature.column, array)
            if feature.bucketized:
                bags.append((self.numeric_maps[feature.name].rows(feature, values), np.ones(num_rows, np.int64)))
            else:
                numeric.append(self.numeric_maps[feature.name].values(feature, values))
                numeric.extend([np.isnan(values)] if feature.missing_indicator else [])
        return SideTensors(
            torch.from_numpy(np.concatenate([_NO_IDS, *(ids for ids, _ in bags)])),
            torch.from_numpy(np.concatenate([_NO_IDS, *(lengths for _, lengths in bags)])),
            torch.from_numpy(_columns(numeric, num_rows)),
        )

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
            vocabularies = {table: _read_vocabulary(folder, table) for table in _vocabulary_tables(schema)}
        except (OSError, pa.ArrowException, KeyError, ValueError) as exc:
            raise DataError(f"encoder in '{folder}' cannot be read: {exc}; restore it from a published bundle") from exc
        if wrong := numeric_maps.keys() ^ {f.name for f in schema.features if isinstance(f, NumericFeature)}:
            raise DataError(
                f"encoder in '{folder}' must have the numeric features of its schema, they differ in {sorted(wrong)}; "
                "load it with the schema it was fitted on"
            )
        return cls(schema, vocabularies, numeric_maps)

    def _look_up(self, feature: CategoricalFeature | CategoricalListFeature, array: pa.Array) -> tuple[Ids, Ids]:
        """Ids and bag lengths of one categorical feature."""
        id_map = self._id_maps[table_name(feature)]
        if isinstance(feature, CategoricalFeature):
            return lookup(raw.text(feature.column, array), id_map), np.ones(len(array), np.int64)
        values, lengths, missing = raw.lists(feature.column, array, feature.max_length)
        ids = lookup(raw.text(feature.column, values), id_map)
        if missing.any():  # a missing list is one missing value; an empty list is no value
            ids = np.insert(ids, (np.cumsum(lengths) - lengths)[missing], MISSING_ID)
            lengths = np.where(missing, 1, lengths)
        return ids, lengths

    def _numeric_json(self) -> bytes:
        return _NUMERIC_MAPS.dump_json(dict(sorted(self.numeric_maps.items())), indent=1)


_NUMERIC_MAPS = TypeAdapter(dict[str, NumericMap])


def _read_vocabulary(folder: Path, table: str) -> VocabularyMap:
    # ParquetFile, since read_table would take "key=value" folders above the file for columns
    with pq.ParquetFile(folder / _VOCABULARIES / f"{table}.parquet") as file:
        values = file.read().column("value").combine_chunks()
    if values.type != pa.string() or values.null_count:
        raise ValueError(f"vocabulary '{table}' must hold strings without null, got {values.type}")
    return VocabularyMap(values)


def num_numeric_inputs(schema: Schema, side: ModelSide) -> int:
    """Columns of `SideTensors.numeric_BN` for one side."""
    plain = [f for f in schema.side_features(side) if isinstance(f, NumericFeature) and not f.bucketized]
    return sum(1 + feature.missing_indicator for feature in plain)


class _Seen:
    """Value counts per vocabulary table and statistics per numeric feature, over a stream of batches."""

    def __init__(self, schema: Schema) -> None:
        specs = _encodings(schema).items()
        self.counts = {table: (spec, ValueCounts()) for table, spec in specs if isinstance(spec, Vocabulary)}
        self.stats = {f.name: NumericStats(f) for f in schema.features if isinstance(f, NumericFeature)}
        self._features = schema.features
        self._num_rows = 0
        self._all_null = {feature.name for feature in schema.features}

    def add(self, batch: Columns) -> None:
        """Take in one batch."""
        self._num_rows += raw.num_rows(batch)
        for feature in self._features:
            array = raw.column(batch, feature.column, numeric=isinstance(feature, NumericFeature))
            if isinstance(feature, NumericFeature):
                self.stats[feature.name].add(raw.numbers(feature.column, array))
                has_values = not self.stats[feature.name].empty
            else:
                values = _values(feature, array)
                if table_name(feature) in self.counts:
                    self.counts[table_name(feature)][1].add(values)
                has_values = values.null_count < len(values)
            if has_values:
                self._all_null.discard(feature.name)

    def refuse_null_columns(self) -> None:
        """Refuse data from which some feature could learn nothing."""
        if not self._num_rows:
            raise DataError("training data must have at least one row, got none; check the path and the filters")
        for feature in self._features:
            if feature.name in self._all_null:
                raise DataError(
                    f"column '{feature.column}' of feature '{feature.name}' holds no value in any training row; "
                    "fill it, or remove the feature from the schema"
                )


def _values(feature: CategoricalFeature | CategoricalListFeature, array: pa.Array) -> pa.Array:
    if isinstance(feature, CategoricalListFeature):
        array = raw.lists(feature.column, array, feature.max_length).values
    return raw.text(feature.column, array)


def _common_length(features: tuple[FeatureSpec, ...], arrays: list[pa.Array]) -> int:
    for feature, array in zip(features, arrays, strict=True):
        if len(array) != len(arrays[0]):
            raise DataError(
                f"columns must be of one length, got {len(arrays[0])} rows in '{features[0].column}' and {len(array)} "
                f"in '{feature.column}'; fill up with null"
            )
    return len(arrays[0])


def _columns(
    inputs: Sequence[npt.NDArray[np.float64] | npt.NDArray[np.bool_]], num_rows: int
) -> npt.NDArray[np.float32]:
    """Model inputs side by side, [num_rows, len(inputs)]."""
    result = np.empty((num_rows, len(inputs)), np.float32)
    for place, values in enumerate(inputs):
        result[:, place] = values
    return result


def _vocabulary_tables(schema: Schema) -> list[str]:
    return [table for table, spec in _encodings(schema).items() if isinstance(spec, Vocabulary)]


def _hash_maps(schema: Schema) -> dict[str, IdMap]:
    return {table: HashMap(spec.num_buckets) for table, spec in _encodings(schema).items() if isinstance(spec, Hashing)}


def _encodings(schema: Schema) -> dict[str, Vocabulary | Hashing]:
    """How the values of every categorical table become rows."""
    own = {f.name: f.encoding for f in schema.features if not isinstance(f, NumericFeature) and f.table is None}
    return {**own, **{name: spec.encoding for name, spec in schema.tables.items()}}
