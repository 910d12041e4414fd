"""From a number to a model input: scaled, ranked or put in a bucket, as training saw the column."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat

from ranker.id_maps import MISSING_ID, NUM_RESERVED
from ranker.schema import FrozenConfig, NumericFeature

Floats = npt.NDArray[np.float64]
NUM_QUANTILES = 257  # grid points of `quantile`: steps of 0.4 % of the rows
SAMPLE_SIZE = 200_000  # values kept to estimate quantiles
_BLOCK_SIZE = 65_536  # values taken in at once, however they were batched
_LARGEST = float(np.finfo(np.float32).max)


class NumericMap(FrozenConfig):
    """What `standardize`, `quantile` and `bucketize` learnt from training rows."""

    mean: FiniteFloat = 0.0
    std: FiniteFloat = Field(1.0, gt=0)
    grid: tuple[FiniteFloat, ...] = Field((), description="Quantile grid, or bucket boundaries; ascending.")

    def values(self, feature: NumericFeature, raw: Floats) -> Floats:
        """Model input of each value, within float32's range; 0 where missing. For features that are not bucketized."""
        values = log1p(raw) if "log1p" in feature.transforms else raw
        if "standardize" in feature.transforms:
            # A nearly constant column may have so small a deviation that an outlier leaves float32's range
            values = np.clip((values - self.mean) / self.std, -_LARGEST, _LARGEST)
        if "quantile" in feature.transforms:
            values = np.interp(values, self._grid, self._ranks)
        return np.where(np.isnan(values), 0.0, values)

    def rows(self, feature: NumericFeature, raw: Floats) -> npt.NDArray[np.int64]:
        """Bucket row of each value, the missing row for NaN. For bucketized features."""
        values = log1p(raw) if "log1p" in feature.transforms else raw
        buckets = np.searchsorted(self._grid, values, side="right") + NUM_RESERVED
        return np.where(np.isnan(values), MISSING_ID, buckets)

    def value(self, feature: NumericFeature, raw: float) -> float:
        """As `values` of one number, without the cost of arrays."""
        if raw != raw:
            return 0.0
        value = log1p(np.array([raw])).item() if "log1p" in feature.transforms else raw
        if "standardize" in feature.transforms:
            value = min(max((value - self.mean) / self.std, -_LARGEST), _LARGEST)
        return float(np.interp(value, self._grid, self._ranks)) if "quantile" in feature.transforms else value

    def row(self, feature: NumericFeature, raw: float) -> int:
        """As `rows` of one number, without the cost of arrays."""
        if raw != raw:
            return MISSING_ID
        value = log1p(np.array([raw])).item() if "log1p" in feature.transforms else raw
        return bisect_right(self.grid, value) + NUM_RESERVED

    @property
    def num_rows(self) -> int:
        """Rows of the bucket table, the reserved ones included."""
        return len(self.grid) + 1 + NUM_RESERVED

    @cached_property
    def _grid(self) -> Floats:
        return np.asarray(self.grid, dtype=np.float64)

    @cached_property
    def _ranks(self) -> Floats:
        return np.linspace(0.0, 1.0, len(self.grid))


class NumericStats:
    """Moments and a uniform sample of a column, over a stream of batches.

    The result depends on the values and their order, to the last bit, and not on how they were cut into batches.
    """

    def __init__(self, feature: NumericFeature) -> None:
        self._feature = feature
        self._count, self._mean, self._m2 = 0, 0.0, 0.0
        self._pending: list[Floats] = []
        self._num_pending = 0
        self._random = np.random.default_rng(0)
        self._sample, self._keys = np.empty(0), np.empty(0)

    def add(self, raw: Floats) -> None:
        """Take in one batch; NaN is skipped."""
        values = raw[~np.isnan(raw)]
        self._pending.append(values)
        self._num_pending += len(values)
        if self._num_pending >= _BLOCK_SIZE:
            pending = np.concatenate(self._pending)
            whole = len(pending) - len(pending) % _BLOCK_SIZE
            for start in range(0, whole, _BLOCK_SIZE):
                self._take(pending[start : start + _BLOCK_SIZE])
            self._pending, self._num_pending = [pending[whole:]], len(pending) - whole

    @property
    def empty(self) -> bool:
        """Whether no value was seen at all."""
        return self._count + self._num_pending == 0

    def build(self) -> NumericMap:
        """The map that these statistics make; call it once, after the last batch.

        Raises:
            ValueError: No value was seen.
        """
        if self.empty:
            raise ValueError(f"statistics of feature '{self._feature.name}' must see at least one value, got none")
        if self._num_pending:
            self._take(np.concatenate(self._pending))
            self._pending, self._num_pending = [], 0
        return NumericMap(mean=self._mean, std=self._std(), grid=self._grid())

    def _take(self, values: Floats) -> None:
        if "log1p" in self._feature.transforms:
            values = log1p(values)
        total = self._count + len(values)
        delta = float(values.mean()) - self._mean  # merging of moments: Chan, Golub and LeVeque, 1979
        self._m2 += float(((values - values.mean()) ** 2).sum()) + delta**2 * self._count * len(values) / total
        self._mean += delta * len(values) / total
        self._count = total
        if self._samples:
            self._keep(values)

    @property
    def _samples(self) -> bool:
        wanted = {"quantile", "bucketize"} & set(self._feature.transforms)
        return bool(wanted) and self._feature.boundaries is None

    def _std(self) -> float:
        """Standard deviation over all rows; 1 for a constant column, whose computed deviation is rounding error."""
        std = float(np.sqrt(self._m2 / self._count))
        rounding = abs(self._mean) * float(np.finfo(np.float64).eps) * self._count
        return std if std > rounding else 1.0

    def _keep(self, values: Floats) -> None:
        """A uniform sample without replacement: the rows that drew the smallest random keys."""
        keys = np.concatenate([self._keys, self._random.random(len(values))])
        values = np.concatenate([self._sample, values])
        if len(values) > SAMPLE_SIZE:
            kept = np.argpartition(keys, SAMPLE_SIZE)[:SAMPLE_SIZE]
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
