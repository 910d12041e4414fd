"""What is counted of a task's labels in every row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ranker.schema import TaskSpec
from training.data_check.data_profile import Rate, TaskProfile
from training.data_check.feature_counter import NullCounter
from training.data_check.groups import NUM_GROUPS, Ints, rate_error
from training.labels import OutputLabels

# Shapes: R = rows of a batch, G = groups


class TaskCounter:
    """Counts the labels of one task over a stream."""

    def __init__(self, task: TaskSpec) -> None:
        self._task = task
        self._nulls = NullCounter()
        self._rows_G = np.zeros(NUM_GROUPS)
        self._sums_G = np.zeros(NUM_GROUPS)
        self._mean = 0.0
        self._squares = 0.0  # sum of squared distances from the mean, by Welford's method

    def add(self, column: pa.Array, labels: OutputLabels, groups_R: Ints) -> None:
        """Count a batch: the raw label column, and the labels of the rows in the task's sample space."""
        self._nulls.add(pc.is_null(column, nan_is_null=True), groups_R)
        values, groups = labels.values[labels.mask], groups_R[labels.mask]
        if not len(values):
            return
        before, mean = self._rows_G.sum(), float(values.mean())
        together = before + len(values)
        self._squares += float(np.square(values - mean).sum())
        self._squares += (mean - self._mean) ** 2 * before * len(values) / together
        self._mean += (mean - self._mean) * len(values) / together
        self._rows_G += np.bincount(groups, minlength=NUM_GROUPS)
        self._sums_G += np.bincount(groups, weights=values, minlength=NUM_GROUPS)

    def profile(self) -> TaskProfile:
        """What was counted."""
        rows = int(self._rows_G.sum())
        error = rate_error(self._sums_G, self._rows_G)
        return TaskProfile(
            kind=self._task.kind,
            column=self._task.label,
            num_rows=rows,
            null_rate=self._nulls.rate(),
            mean=Rate(value=self._mean, standard_error=error) if rows else None,
            std=float(np.sqrt(self._squares / rows)) if rows else 0.0,
        )
