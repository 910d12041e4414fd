"""Impressions on disk: Parquet, streamed row group by row group, split, shuffled, and never wholly in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ranker import columns as raw
from ranker.encoding import Encoder
from ranker.errors import DataError
from ranker.schema import CategoricalListFeature, NumericFeature
from training.batches import Batch, EncodedRows
from training.config import ExperimentConfig
from training.epoch_reader import EpochReader
from training.labels import OutputLabels, check_sample_spaces, num_labelled, task_labels
from training.log_columns import id_columns, label_columns, needed_columns
from training.order import EpochOrder
from training.parquet_log import ParquetLog
from training.source import Source
from training.splits import SPLITS, Split, build_split, split_column

_READ_ROWS = 65_536


class Impressions:
    """The impressions of an experiment.

    Args:
        path: A Parquet file, or a folder of them (hive partitions are fine), on this machine or at a URL that fsspec
            reads; or files found already.
        config: Names the columns and how rows are split.

    Raises:
        DataError: A file cannot be read, or lacks a column; names the file, the column and the fix.
    """

    def __init__(self, path: str | Path | Source, config: ExperimentConfig) -> None:
        self.source = path if isinstance(path, Source) else Source.find(path)
        self.path = self.source.where
        self.schema = config.data_schema
        self._split_column = split_column(config.training.split, self.schema.ids)
        clean = config.training.clean_rows
        others = [self._split_column, *([clean.column] if clean is not None else [])]
        self.columns = tuple(dict.fromkeys([*id_columns(self.schema), *needed_columns(self.schema), *others]))
        text = {feature.column for feature in self.schema.features if not isinstance(feature, NumericFeature)}
        self._log = ParquetLog(self.source, self.columns, text | {self._split_column})
        self._shuffle_rows = config.training.shuffle_rows
        with naming(f"data '{self.path}'"):
            self._assign = build_split(config.training.split, self.schema.ids, self._split_values)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.source.name

    @property
    def num_rows(self) -> int:
        """Rows of all splits."""
        return self._log.num_rows

    def all_rows(self, batch_size: int = _READ_ROWS) -> Iterator[pa.RecordBatch]:
        """Rows of all splits, and of none, in file order."""
        for group in range(len(self._log.groups)):
            yield from self._log.read(group, self.columns, batch_size)

    @cached_property
    def counts_GS(self) -> npt.NDArray[np.int64]:
        """Rows of each row group (G) in each split (S), counted once."""
        return np.stack([self._counts(group) for group in range(len(self._log.groups))])

    def check(self) -> dict[str, dict[str, int]]:
        """Read every label and every feature value once, so that nothing can be wrong with them later.

        Returns:
            Per split, its rows and the labelled rows of each output.

        Raises:
            DataError: A label is not what its task needs, a feature holds what it cannot read, a split is empty, or a
                task has nothing to learn from; names the file.
        """
        totals: dict[str, dict[str, int]] = {split: {"rows": 0} for split in SPLITS}
        counts_GS = np.zeros((len(self._log.groups), len(SPLITS)), np.int64)
        file, row = "", 0
        for group in range(len(self._log.groups)):
            file, row = (file, row) if file == self._log.file(group) else (self._log.file(group), 0)
            for batch in self._log.read(group, self.columns, _READ_ROWS):
                with naming(f"file '{file}'" + (f", rows counted from row {row}" if row else "")):
                    labels = self._checked(batch)
                    places = self._assign(batch)
                for place, split in enumerate(SPLITS):
                    chosen = places == place
                    counts_GS[group, place] += chosen.sum()
                    counts = num_labelled({k: OutputLabels(v.values, v.mask & chosen) for k, v in labels.items()})
                    for name, count in {"rows": int(chosen.sum()), **counts}.items():
                        totals[split][name] = totals[split].get(name, 0) + count
                row += batch.num_rows
        self.__dict__["counts_GS"] = counts_GS
        with naming(f"data '{self.path}'"):
            for split in SPLITS:
                if not totals[split]["rows"]:
                    raise DataError(f"split '{split}' has no rows; check `training.split` and '{self._split_column}'")
                check_sample_spaces(self.schema, totals[split], split)
        return totals

    def rows(self, split: Split, batch_size: int = _READ_ROWS) -> Iterator[pa.RecordBatch]:
        """Rows of one split in file order."""
        for group in np.flatnonzero(self.counts_GS[:, SPLITS.index(split)]):
            yield from self._rows_of(int(group), split, batch_size)

    def order(self, split: Split, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> EpochOrder:
        """Which rows each step of an epoch takes; see `steps`."""
        return EpochOrder(
            self.counts_GS[:, SPLITS.index(split)],
            batch_size=batch_size,
            shuffle_rows=self._shuffle_rows,
            seed=seed,
            rank=rank,
            world=world,
        )

    def batches(
        self,
        split: Split,
        encoder: Encoder,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> Iterator[Batch]:
        """The batches of an epoch; see `steps`."""
        for rows in self.steps(split, encoder, batch_size, seed, rank=rank, world=world, start=start):
            yield rows.batch()

    def steps(
        self,
        split: Split,
        encoder: Encoder,
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> Iterator[EncodedRows]:
        """Encoded rows of one split in random order, those of one step after the other.

        Row groups are visited in random order, and rows shuffled within `training.shuffle_rows` of them. What a step
        gets depends on `seed`, the sizes and its number alone: nothing is read or drawn for steps before `start` but
        what shares a pool with it.

        Args:
            split: Which rows.
            encoder: Encodes them, in a background thread.
            batch_size: Rows per step and process; the last may get fewer.
            seed: Of the order; another one for every epoch.
            rank: Of this process, which reads its own share alone.
            world: Number of processes; all take the same number of steps.
            start: First step wanted.

        Raises:
            DataError: A file is gone, damaged, or not the one that was counted.
        """
        order = self.order(split, batch_size, seed, rank, world)
        read = partial(self._rows_of, split=split, batch_size=_READ_ROWS)
        yield from EpochReader(order, read, encoder, self._log.no_rows, self._log.file).steps(start)

    def _rows_of(self, group: int, split: Split, batch_size: int) -> Iterator[pa.RecordBatch]:
        """Rows of one row group and split."""
        for batch in self._log.read(group, self.columns, batch_size):
            with naming(f"file '{self._log.file(group)}'"):
                chosen = self._assign(batch) == SPLITS.index(split)
            if chosen.any():
                yield batch if chosen.all() else batch.filter(pa.array(chosen))

    def _counts(self, group: int) -> npt.NDArray[np.int64]:
        counts_S = np.zeros(len(SPLITS), np.int64)
        for batch in self._log.read(group, (self._split_column,), _READ_ROWS):
            with naming(f"file '{self._log.file(group)}'"):
                places = self._assign(batch)
            counts_S += np.bincount(places[places >= 0], minlength=len(SPLITS))
        return counts_S

    def _split_values(self) -> Iterator[pa.RecordBatch]:
        for group in range(len(self._log.groups)):
            yield from self._log.read(group, (self._split_column,), _READ_ROWS)

    def _checked(self, batch: pa.RecordBatch) -> dict[str, OutputLabels]:
        """Labels of some rows, whose features have been read as well."""
        for feature in self.schema.features:
            numeric = isinstance(feature, NumericFeature)
            array = raw.column(batch, feature.column, numeric=numeric)
            if numeric:
                raw.numbers(feature.column, array)
            elif isinstance(feature, CategoricalListFeature):
                raw.text(feature.column, raw.lists(feature.column, array, feature.max_length).values)
            else:
                raw.text(feature.column, array)
        return task_labels(self.schema, label_columns(self.schema, batch))


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put a place in front of errors about data that cannot know where they were read."""
    try:
        yield
    except DataError as exc:
        raise DataError(f"{where}: {exc}") from exc
