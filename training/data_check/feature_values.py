"""The values of one feature in some rows, ready to be counted: the sampled rows are few enough for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ranker import columns as raw
from ranker.schema import CategoricalListFeature, FeatureSpec, NumericFeature
from training.data_check.groups import NUM_GROUPS, Floats, Ints, design_effect
from training.data_check.histogram import Histogram, ValueHistogram, numeric_histogram

# Shapes: R = rows, N = values in all rows (elements of lists), V = different values, G = groups

_STORED = 10  # times as many values as drift tells apart: those of another day are looked up among them


@dataclass(frozen=True, slots=True)
class FeatureValues:
    """One feature in some rows.

    Attributes:
        missing_R: Rows without a value: null, or an empty list.
        null_R: Rows that are null.
        numbers_R: Of a numeric feature, NaN where missing; None for others.
        values: Different values of a categorical feature; canonical text.
        code_N: Place in `values` of each value.
        row_N: Row of each value.
    """

    missing_R: NDArray[np.bool_]
    null_R: NDArray[np.bool_]
    numbers_R: Floats | None
    values: pa.Array
    code_N: Ints
    row_N: Ints

    @property
    def num_values(self) -> int:
        """Different values."""
        return len(self.values)

    @classmethod
    def of(cls, feature: FeatureSpec, rows: pa.Table) -> FeatureValues:
        """Read a feature.

        Raises:
            DataError: The column holds what the feature cannot read.
        """
        array = raw.column(rows, feature.column, numeric=isinstance(feature, NumericFeature))
        if isinstance(feature, NumericFeature):
            numbers_R = raw.numbers(feature.column, array)
            missing_R = np.isnan(numbers_R)
            return cls(missing_R, missing_R, numbers_R, pa.array([], pa.string()), _NONE, _NONE)
        row_N = np.arange(len(array))
        null_R = np.zeros(len(array), np.bool_)
        if isinstance(feature, CategoricalListFeature):
            array, lengths_R, null_R = raw.lists(feature.column, array, feature.max_length)
            row_N = np.repeat(np.arange(len(lengths_R)), lengths_R)
        words = raw.text(feature.column, array)
        words = words if pa.types.is_dictionary(words.type) else words.dictionary_encode()
        code_N = pc.fill_null(words.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
        known_N = code_N >= 0
        has_value_R = np.bincount(row_N[known_N], minlength=len(null_R)) > 0
        if not isinstance(feature, CategoricalListFeature):
            null_R = ~has_value_R
        return cls(~has_value_R, null_R, None, words.dictionary, code_N[known_N], row_N[known_N])

    def histogram(self, groups_R: Ints, num_bins: int, top_values: int) -> Histogram:
        """The histogram, and how much more it scatters than one of independent rows.

        Args:
            groups_R: Group of each row; see `row_groups`.
            num_bins: Of a numeric feature, for the scatter alone.
            top_values: Values of a categorical feature that drift tells apart.
        """
        if self.numbers_R is not None:
            plain = numeric_histogram(self.numbers_R)
            edges = plain.edges(num_bins)
            cell_R = np.where(self.missing_R, len(edges) + 1, np.searchsorted(edges, self.numbers_R))
            effect = design_effect(_by_group(groups_R, cell_R, len(edges) + 2))
            return plain.model_copy(update={"design_effect": effect})
        return self._value_histogram(groups_R, top_values)

    def _value_histogram(self, groups_R: Ints, top_values: int) -> ValueHistogram:
        counts_V = np.bincount(self.code_N, minlength=self.num_values)
        ties = [("count", "descending"), ("value", "ascending")]
        order = pc.sort_indices(pa.table({"count": counts_V, "value": self.values}), sort_keys=ties).to_numpy()
        top = order[counts_V[order] > 0]
        cell_V = np.full(self.num_values, top_values)  # the cell of all others
        cell_V[top[:top_values]] = np.arange(len(top[:top_values]))
        null, empty = self.null_R, self.missing_R & ~self.null_R
        cells = np.concatenate(
            [cell_V[self.code_N], np.full(null.sum(), top_values + 1), np.full(empty.sum(), top_values + 2)]
        )
        groups = np.concatenate([groups_R[self.row_N], groups_R[null], groups_R[empty]])
        stored = top[: _STORED * top_values]
        return ValueHistogram(
            counts=dict(zip(self.values.take(pa.array(stored)).to_pylist(), counts_V[stored].tolist(), strict=True)),
            other=int(counts_V.sum() - counts_V[stored].sum()),
            missing=int(null.sum()),
            empty=int(empty.sum()),
            design_effect=design_effect(_by_group(groups, cells, top_values + 3)),
        )


_NONE = np.empty(0, np.int64)


def _by_group(groups_N: Ints, cell_N: Ints, num_cells: int) -> Ints:
    """Counts of cells by group, [G, cells]."""
    flat = np.bincount(groups_N * num_cells + cell_N, minlength=NUM_GROUPS * num_cells)
    return flat.reshape(NUM_GROUPS, num_cells)
