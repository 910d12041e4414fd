"""One pass over the night's impressions, in memory that does not grow with their number."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from ranker.schema import Ids, Schema
from training.data import Impressions, naming
from training.data_check.config import DataCheckConfig
from training.data_check.data_profile import ColumnProfile, DataProfile, TaskProfile
from training.data_check.duplicate_counter import DuplicateCounter
from training.data_check.families import family
from training.data_check.feature_counter import FeatureCounter, distinct_features
from training.data_check.feature_values import FeatureValues
from training.data_check.groups import row_groups
from training.data_check.hashes import column_hashes, row_hashes
from training.data_check.histogram import Histogram
from training.data_check.leakage import SingleFeatureAuc, single_feature_aucs
from training.data_check.row_sample import RowSample
from training.data_check.task_counter import TaskCounter
from training.data_check.times import Calendar, TimeCounter, instants, known_unit
from training.errors import ConfigError
from training.labels import task_labels
from training.log_columns import label_columns


def profile(impressions: Impressions, config: DataCheckConfig, date: dt.date, seed: int = 0) -> DataProfile:
    """Read all rows once and keep what can be compared with other nights.

    Memory: `sample_rows` rows, `max_values` values of each categorical feature and `duplicate_keys` hashes, each a few
    times over at most, whatever the number of rows.

    Args:
        impressions: The night's data.
        config: What is measured.
        date: The day asked for.
        seed: Of the sample.

    Raises:
        DataError: A file or a value cannot be read; names the file or the folder, the column, the value and the fix.
        ConfigError: `window_days` is set, and the times of the rows are not known.

    Example:
        >>> from datetime import date
        >>> found = profile(Impressions(Path("log"), config), config.data_check, date(2026, 1, 2))  # doctest: +SKIP
        >>> found.save(Path("profile.json"))  # doctest: +SKIP
    """
    profiler = _Profiler(impressions.schema, config, date, seed)
    with naming(f"data '{impressions.path}'"):
        for batch in impressions.all_rows():
            profiler.add(batch)
        return profiler.profile()


class _Profiler:
    """Everything that is counted on the way."""

    def __init__(self, schema: Schema, config: DataCheckConfig, day: dt.date, seed: int) -> None:
        self._schema, self._config, self._day = schema, config, day
        self._calendar = Calendar.of(day, config)
        self._times: TimeCounter | None = None
        self._columns: dict[str, ColumnProfile] = {}
        self._num_rows = 0
        self._distinct = distinct_features(schema)
        self._features = {feature.name: FeatureCounter(feature, config.max_values) for feature in self._distinct}
        self._tasks = {task.name: TaskCounter(task) for task in schema.tasks}
        self._sample = RowSample(config.sample_rows, seed)
        self._keys = impression_keys(schema.ids)
        self._duplicates = DuplicateCounter(config.duplicate_keys)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in some rows."""
        for name in (*self._schema.feature_columns, *self._schema.label_columns):
            kind = batch.schema.field(name).type
            self._columns[name] = ColumnProfile(type=str(kind), family=family(kind))
        batch = self._in_window(batch)
        groups_R = row_groups(batch, self._schema.ids, self._num_rows)
        for counter in self._features.values():
            counter.add(batch, groups_R)
        labels = task_labels(self._schema, label_columns(self._schema, batch))
        for task in self._schema.tasks:
            self._tasks[task.name].add(batch.column(task.label), labels[task.name], groups_R)
        if self._keys:
            self._duplicates.add(row_hashes([column_hashes(name, batch.column(name)) for name in self._keys]))
        self._sample.add(batch)
        self._num_rows += batch.num_rows

    def profile(self) -> DataProfile:
        """What all rows came to."""
        tasks = {name: counter.profile() for name, counter in self._tasks.items()}
        histograms, leakage = self._sampled(tasks)
        features = {name: self._features[name].profile(self._schema, found) for name, found in histograms.items()}
        return DataProfile(
            date=self._day,
            num_rows=self._num_rows,
            columns=self._columns,
            features=features,
            tasks=tasks,
            times=None if self._times is None else self._times.profile(),
            timestamp_column=self._schema.ids.timestamp,
            duplicates=self._duplicates.counted(self._keys) if self._keys else None,
            leakage=leakage,
        )

    def _in_window(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Count the rows by their times; those to be profiled."""
        column, window = self._schema.ids.timestamp, self._calendar.window
        if column is None or not known_unit(batch.schema.field(column).type, self._config):
            if window is None:
                return batch
            raise ConfigError(
                "data_check.window_days needs to know when rows were shown; "
                + (
                    f"name the unit of '{column}' in data_check.timestamp_unit"
                    if column
                    else "set schema.ids.timestamp"
                )
            )
        self._times = self._times or TimeCounter(column, self._calendar)
        seconds = instants(column, batch.column(column), self._config)
        self._times.add(seconds)
        if window is None:
            return batch
        return batch.filter(pa.array((seconds >= window) & (seconds < self._calendar.latest)))

    def _sampled(self, tasks: dict[str, TaskProfile]) -> tuple[dict[str, Histogram], tuple[SingleFeatureAuc, ...]]:
        rows = self._sample.table()
        if rows is None:
            return {}, ()
        groups_R = row_groups(rows, self._schema.ids)
        values = {feature.name: FeatureValues.of(feature, rows) for feature in self._distinct}
        histograms = {
            name: found.histogram(groups_R, self._config.num_bins, self._config.top_values)
            for name, found in values.items()
        }
        found = task_labels(self._schema, label_columns(self._schema, rows))
        labels = {name: label for name, label in found.items() if name in tasks}
        kinds = {name: task.kind for name, task in tasks.items()}
        return histograms, tuple(single_feature_aucs(values, labels, kinds, groups_R))


def impression_keys(ids: Ids) -> tuple[str, ...]:
    """Columns that together tell impressions apart; none where the schema does not name enough of them."""
    if ids.item is None or (ids.request is None and ids.timestamp is None):
        return ()
    return tuple(column for column in (ids.request, ids.user, ids.item, ids.timestamp) if column is not None)
