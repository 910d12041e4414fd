"""What is counted of a feature in every row: nulls, by group, and the values seen."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ranker import columns as raw
from ranker.schema import CategoricalListFeature, FeatureSpec, NumericFeature, Schema, table_name
from training.data_check.data_profile import FeatureProfile, Rate
from training.data_check.groups import NUM_GROUPS, Ints, rate_error
from training.data_check.histogram import Histogram
from training.data_check.seen_values import ValueSketch

# Shapes: R = rows of a batch, G = groups


class NullCounter:
    """The share of rows without a value, with its standard error."""

    def __init__(self) -> None:
        self._nulls_G = np.zeros(NUM_GROUPS)
        self._rows_G = np.zeros(NUM_GROUPS)

    def add(self, missing: pa.Array, groups_R: Ints) -> None:
        """Count a batch; `missing` are booleans without null."""
        self._rows_G += np.bincount(groups_R, minlength=NUM_GROUPS)
        if pc.any(missing).as_py():
            self._nulls_G += np.bincount(groups_R[missing.to_numpy(zero_copy_only=False)], minlength=NUM_GROUPS)

    def rate(self) -> Rate:
        """Of all batches; 0 where there were no rows."""
        rows = float(self._rows_G.sum())
        value = float(self._nulls_G.sum()) / rows if rows else 0.0
        return Rate(value=value, standard_error=rate_error(self._nulls_G, self._rows_G))


class FeatureCounter:
    """Counts one feature over a stream.

    Args:
        feature: What to read.
        max_values: Values of a categorical feature that are kept.
    """

    def __init__(self, feature: FeatureSpec, max_values: int) -> None:
        self._feature = feature
        self._nulls = NullCounter()
        self._seen = None if isinstance(feature, NumericFeature) else ValueSketch(max_values)

    def add(self, batch: pa.RecordBatch, groups_R: Ints) -> None:
        """Count a batch.

        Raises:
            DataError: The column holds what the feature cannot read; names the column, the value and the fix.
        """
        feature = self._feature
        array = raw.column(batch, feature.column, numeric=isinstance(feature, NumericFeature))
        if pa.types.is_dictionary(array.type) and not pa.types.is_string(array.type.value_type):
            array = array.dictionary_decode()  # NaN in a dictionary is no null yet
        if self._seen is None:
            self._nulls.add(pa.array(np.isnan(raw.numbers(feature.column, array))), groups_R)
            return
        if isinstance(feature, CategoricalListFeature):
            array, lengths_R, _ = raw.lists(feature.column, array, feature.max_length)
            self._nulls.add(pa.array(lengths_R == 0), groups_R)
        else:
            self._nulls.add(pc.is_null(array, nan_is_null=True), groups_R)
        counted = array.value_counts()
        self._seen.add(_plain(raw.text(feature.column, counted.field("values"))), counted.field("counts"))

    def profile(self, schema: Schema, histogram: Histogram) -> FeatureProfile:
        """What was counted, beside the histogram of the sampled rows."""
        numeric = self._seen is None
        return FeatureProfile(
            column=self._feature.column,
            table=None if numeric else table_name(self._feature),
            is_id=not numeric and table_name(self._feature) in id_tables(schema),
            null_rate=self._nulls.rate(),
            histogram=histogram,
            seen=None if self._seen is None else self._seen.seen(),
        )


def id_tables(schema: Schema) -> set[str]:
    """Embedding tables that hold user, item or request ids."""
    ids = {schema.ids.user, schema.ids.item, schema.ids.request}
    return {
        table_name(feature)
        for feature in schema.features
        if not isinstance(feature, NumericFeature) and feature.column in ids
    }


def distinct_features(schema: Schema) -> tuple[FeatureSpec, ...]:
    """Of features that read the same values in the same way, the first."""
    first: dict[tuple[object, ...], FeatureSpec] = {}
    for feature in schema.features:
        table = None if isinstance(feature, NumericFeature) else table_name(feature)
        first.setdefault((feature.column, table, getattr(feature, "max_length", None)), feature)
    return tuple(first.values())


def _plain(words: pa.Array) -> pa.Array:
    return words.dictionary_decode() if pa.types.is_dictionary(words.type) else words
