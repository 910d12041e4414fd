"""From a number to a model input: scaled, ranked or put in a bucket, as training saw the column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ranker.id_maps import MISSING_ID, NUM_RESERVED
from ranker.schema import FrozenConfig, NumericFeature

Floats = npt.NDArray[np.float64]
NUM_QUANTILES = 257  # grid points of `quantile`: steps of 0.4 % of the rows
SAMPLE_SIZE = 200_000  # values kept to estimate quantiles


class NumericMap(FrozenConfig):
    """What `standardize`, `quantile` and `bucketize` learnt from training rows."""

    mean: float = 0.0
    std: float = Field(1.0, gt=0)
    grid: tuple[float, ...] = Field((), description="Quantile grid, or bucket boundaries; ascending.")

    def values(self, feature: NumericFeature, raw: Floats) -> Floats:
        """Model input of each value; 0 where missing. For features that are not bucketized."""
        scaled = self._scaled(feature, raw)
        return np.where(np.isnan(scaled), 0.0, scaled)

    def rows(self, feature: NumericFeature, raw: Floats) -> npt.NDArray[np.int64]:
        """Bucket row of each value, the missing row for NaN. For bucketized features."""
        values = log1p(raw) if "log1p" in feature.transforms else raw
        buckets = np.searchsorted(np.asarray(self.grid), values, side="right") + NUM_RESERVED
        return np.where(np.isnan(values), MISSING_ID, buckets).astype(np.int64)

    @property
    def num_rows(self) -> int:
        """Rows of the bucket table, the reserved ones included."""
        return len(self.grid) + 1 + NUM_RESERVED

    def _scaled(self, feature: NumericFeature, raw: Floats) -> Floats:
        values = log1p(raw) if "log1p" in feature.transforms else raw
        if "standardize" in feature.transforms:
            return (values - self.mean) / self.std
        if "quantile" in feature.transforms:
            grid = np.asarray(self.grid)
            return np.interp(values, grid, np.linspace(0.0, 1.0, len(grid)))
        return values


class NumericStats:
    """Moments and a uniform sample of a column, over a stream of batches."""

    def __init__(self, feature: NumericFeature) -> None:
        self._feature = feature
        self._count, self._mean, self._m2 = 0, 0.0, 0.0
        self._random = np.random.default_rng(0)
        self._sample, self._keys = np.empty(0), np.empty(0)

    def add(self, raw: Floats) -> None:
        """Take in one batch; NaN is skipped."""
        values = raw[~np.isnan(raw)]
        if not len(values):
            return
        values = log1p(values) if "log1p" in self._feature.transforms else values
        total = self._count + len(values)
        delta = float(values.mean()) - self._mean  # merging of moments: Chan, Golub and LeVeque, 1979
        self._m2 += float(((values - values.mean()) ** 2).sum()) + delta**2 * self._count * len(values) / total
        self._mean += delta * len(values) / total
        self._count = total
        self._keep(values)

    @property
    def empty(self) -> bool:
        """Whether no value was seen at all."""
        return self._count == 0

    def build(self) -> NumericMap:
        """The map that these statistics make."""
        std = float(np.sqrt(self._m2 / max(self._count, 1)))
        return NumericMap(mean=self._mean, std=std if std > 0 else 1.0, grid=self._grid())

    def _keep(self, values: Floats) -> None:
        """A uniform sample without replacement: the rows that drew the smallest random keys."""
        values, keys = np.concatenate([self._sample, values]), np.concatenate([self._keys, self._random.random(len(values))])
        if len(values) > SAMPLE_SIZE:
            kept = np.sort(np.argpartition(keys, SAMPLE_SIZE)[:SAMPLE_SIZE])
            values, keys = values[kept], keys[kept]
        self._sample, self._keys = values, keys

    def _grid(self) -> tuple[float, ...]:
        if self._feature.boundaries is not None:
            bounds = np.asarray(self._feature.boundaries)
            return tuple((log1p(bounds) if "log1p" in self._feature.transforms else bounds).tolist())
        if self._feature.bucketized:
            inner = np.linspace(0.0, 1.0, self._feature.num_buckets + 1)[1:-1]
            return tuple(np.unique(np.quantile(self._sample, inner)).tolist())
        if "quantile" in self._feature.transforms:
            return _strictly_ascending(np.quantile(self._sample, np.linspace(0.0, 1.0, NUM_QUANTILES)))
        return ()


def log1p(values: Floats) -> Floats:
    """`log(1 + x)`, mirrored for negative numbers, so that it is defined and monotone everywhere."""
    return np.sign(values) * np.log1p(np.abs(values))


def _strictly_ascending(grid: Floats) -> tuple[float, ...]:
    """Repeated quantiles (a value that many rows share) pushed apart by the least step, as `np.interp` requires."""
    for place in range(1, len(grid)):
        if grid[place] <= grid[place - 1]:
            grid[place] = np.nextafter(grid[place - 1], np.inf)
    return tuple(grid.tolist())
