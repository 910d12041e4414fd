"""What one pass over training rows saw: from this an encoder learns."""

from __future__ import annotations

import pyarrow as pa

from ranker import columns as raw
from ranker.columns import Columns
from ranker.errors import DataError
from ranker.id_maps import ValueCounts
from ranker.numeric_maps import NumericStats
from ranker.schema import (
    CategoricalFeature,
    CategoricalListFeature,
    Hashing,
    NumericFeature,
    Schema,
    Vocabulary,
    table_name,
)


class Seen:
    """Value counts per vocabulary table and statistics per numeric feature, over a stream of batches."""

    def __init__(self, schema: Schema) -> None:
        specs = table_encodings(schema).items()
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


def table_encodings(schema: Schema) -> dict[str, Vocabulary | Hashing]:
    """How the values of every categorical table become rows."""
    own = {f.name: f.encoding for f in schema.features if not isinstance(f, NumericFeature) and f.table is None}
    return {**own, **{name: spec.encoding for name, spec in schema.tables.items()}}
