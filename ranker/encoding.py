"""Raw values to tensors, for training and for serving: the only code in the project that does it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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
    embedded,
    table_name,
)

# Shapes: B = rows, E = embedded features of the side, N = plain numeric inputs of the side

ModelSide = Literal["request", "item"]
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
        ...     "features": [{"name": "brand", "side": "item", "kind": "categorical", "encoding": {"kind": "vocabulary", "min_count": 1}}],
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

    @classmethod
    def fit(cls, schema: Schema, batches: Iterable[pa.Table | pa.RecordBatch]) -> Encoder:
        """Learn vocabularies and numeric statistics in one pass over training rows.

        Raises:
            DataError: A column is missing, of the wrong type, or null in every row.
        """
        counts, stats = _observe(schema, batches)
        vocabularies = {table: VocabularyMap(seen.vocabulary(_vocabulary(schema, table))) for table, seen in counts.items()}
        return cls(schema, vocabularies, {name: seen.build() for name, seen in stats.items()})

    def extend(self, batches: Iterable[pa.Table | pa.RecordBatch]) -> Encoder:
        """An encoder that also knows the new values of `batches`; every id given so far stays as it is."""
        counts, _ = _observe(self.schema, batches)
        vocabularies = {
            table: self.vocabularies[table].extended(seen.vocabulary(_vocabulary(self.schema, table)))
            for table, seen in counts.items()
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
        rows = raw.num_rows(data)
        ids: list[npt.NDArray[np.int64]] = []
        lengths: list[npt.NDArray[np.int64]] = []
        numeric: list[npt.NDArray[np.float64]] = []
        for feature in self.schema.side_features(side):
            array = raw.column(data, feature.column)
            if embedded(feature):
                feature_ids, feature_lengths = self._embed(feature, array)
                ids.append(feature_ids)
                lengths.append(feature_lengths)
            else:
                numeric.extend(self._numeric(feature, array))
        return SideTensors(
            torch.from_numpy(np.concatenate(ids) if ids else np.empty(0, np.int64)),
            torch.from_numpy(np.concatenate(lengths) if lengths else np.empty(0, np.int64)),
            torch.from_numpy(np.stack(numeric, axis=1).astype(np.float32) if numeric else np.empty((rows, 0), np.float32)),
        )

    @property
    def num_embeddings(self) -> dict[str, int]:
        """Rows of every embedding table, the reserved ones included."""
        sizes = {table: id_map.num_rows for table, id_map in self._id_maps.items()}
        for feature in self.schema.features:
            if isinstance(feature, NumericFeature) and feature.bucketized:
                sizes[feature.name] = self.numeric_maps[feature.name].num_rows
        return sizes

    @property
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
            vocabularies = {
                table: VocabularyMap(
                    pq.read_table(folder / _VOCABULARIES / f"{table}.parquet").column("value").combine_chunks()
                )
                for table in _vocabulary_tables(schema)
            }
            numeric_maps = _NUMERIC_MAPS.validate_json((folder / _NUMERIC_FILE).read_bytes())
        except (OSError, pa.ArrowInvalid, KeyError, ValueError) as exc:
            raise DataError(f"encoder in '{folder}' cannot be read: {exc}; restore it from a published bundle") from exc
        return cls(schema, vocabularies, numeric_maps)

    def _embed(self, feature: FeatureSpec, array: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Ids and bag lengths of one embedded feature."""
        if isinstance(feature, NumericFeature):
            ids = self.numeric_maps[feature.name].rows(feature, raw.numbers(feature.column, array))
            return ids, np.ones(len(ids), np.int64)
        id_map = self._id_maps[table_name(feature)]
        if isinstance(feature, CategoricalFeature):
            ids = lookup(raw.text(feature.column, array), id_map)
            return ids, np.ones(len(ids), np.int64)
        values, lengths, missing = raw.lists(feature.column, array, feature.max_length)
        ids = lookup(raw.text(feature.column, values), id_map)
        if missing.any():  # a missing list is one missing value; an empty list is no value
            ids = np.insert(ids, (np.cumsum(lengths) - lengths)[missing], MISSING_ID)
            lengths = np.where(missing, 1, lengths)
        return ids, lengths

    def _numeric(self, feature: FeatureSpec, array: pa.Array) -> list[npt.NDArray[np.float64]]:
        """The model inputs of one plain numeric feature: its value, then its missing indicator."""
        assert isinstance(feature, NumericFeature)
        values = raw.numbers(feature.column, array)
        inputs = [self.numeric_maps[feature.name].values(feature, values)]
        return [*inputs, np.isnan(values).astype(np.float64)] if feature.missing_indicator else inputs

    def _numeric_json(self) -> bytes:
        return _NUMERIC_MAPS.dump_json(dict(sorted(self.numeric_maps.items())), indent=1)


_NUMERIC_MAPS = TypeAdapter(dict[str, NumericMap])


def num_numeric_inputs(schema: Schema, side: ModelSide) -> int:
    """Columns of `SideTensors.numeric_BN` for one side."""
    plain = [f for f in schema.side_features(side) if isinstance(f, NumericFeature) and not f.bucketized]
    return sum(1 + feature.missing_indicator for feature in plain)


def _observe(
    schema: Schema, batches: Iterable[pa.Table | pa.RecordBatch]
) -> tuple[dict[str, ValueCounts], dict[str, NumericStats]]:
    """Value counts per vocabulary table and statistics per numeric feature, in one pass."""
    counts = {table: ValueCounts() for table in _vocabulary_tables(schema)}
    stats = {f.name: NumericStats(f) for f in schema.features if isinstance(f, NumericFeature)}
    seen = {feature.name: False for feature in schema.features}
    for batch in batches:
        for feature in schema.features:
            array = raw.column(batch, feature.column)
            seen[feature.name] |= array.null_count < len(array)
            if isinstance(feature, NumericFeature):
                stats[feature.name].add(raw.numbers(feature.column, array))
            elif table_name(feature) in counts:
                counts[table_name(feature)].add(_values(feature, array))
    _refuse_null_columns(schema, seen)
    return counts, stats


def _values(feature: FeatureSpec, array: pa.Array) -> pa.Array:
    if isinstance(feature, CategoricalListFeature):
        array = raw.lists(feature.column, array, feature.max_length).values
    return raw.text(feature.column, array)


def _refuse_null_columns(schema: Schema, seen: Mapping[str, bool]) -> None:
    for feature in schema.features:
        if not seen[feature.name]:
            raise DataError(
                f"column '{feature.column}' of feature '{feature.name}' is null in every training row; "
                "fill it, or remove the feature from the schema"
            )


def _vocabulary_tables(schema: Schema) -> list[str]:
    return [table for table, encoding in _encodings(schema).items() if not isinstance(encoding, Hashing)]


def _vocabulary(schema: Schema, table: str) -> Vocabulary:
    encoding = _encodings(schema)[table]
    assert isinstance(encoding, Vocabulary)
    return encoding


def _hash_maps(schema: Schema) -> dict[str, IdMap]:
    return {t: HashMap(encoding.num_buckets) for t, encoding in _encodings(schema).items() if isinstance(encoding, Hashing)}


def _encodings(schema: Schema) -> dict[str, Vocabulary | Hashing]:
    """How the values of every categorical table become rows."""
    own = {
        feature.name: feature.encoding
        for feature in schema.features
        if not isinstance(feature, NumericFeature) and feature.table is None
    }
    return {**own, **{name: spec.encoding for name, spec in schema.tables.items()}}
