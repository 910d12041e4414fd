"""Rows encoded for training, and the batches that steps take from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from ranker.encoded import Encoded, EncodedColumns, Places, SideTensors
from ranker.encoding import Encoder
from ranker.losses import Targets
from training.labels import task_labels
from training.log_columns import id_columns, label_columns

# Shapes: B = rows, T = tasks


class RowNames(NamedTuple):
    """What the id columns call some rows; put into words only where an error asks for it.

    Attributes:
        ids: Id columns of all the rows that these were taken from.
        places: Which of them these are.
    """

    ids: pa.Table
    places: Places

    def take(self, places: Places) -> RowNames:
        """The rows at `places`, in that order."""
        return RowNames(self.ids, self.places.take(places))

    @classmethod
    def concat(cls, parts: Sequence[RowNames]) -> RowNames:
        """The rows of all parts, one part after the other."""
        ends = np.cumsum([part.ids.num_rows for part in parts])
        shifted = [part.places + end - part.ids.num_rows for part, end in zip(parts, ends, strict=True)]
        return cls(pa.concat_tables([part.ids for part in parts]), np.concatenate(shifted))

    def name(self, row: int) -> str:
        """One of the rows, like `user_id=3, item_id=i4`; empty where the schema names no id column."""
        place = int(self.places[row])
        return ", ".join(f"{name}={self.ids.column(name)[place].as_py()}" for name in self.ids.column_names)


class Batch(NamedTuple):
    """Encoded rows as a step takes them, what they should have predicted, and what they are called."""

    encoded: Encoded
    targets: Targets
    names: RowNames

    @property
    def num_rows(self) -> int:
        """Rows, those with trusted labels included."""
        return len(self.targets.labels_BT)

    @property
    def num_clean(self) -> int:
        """How many rows were added for their trusted labels."""
        return 0 if self.targets.clean_B is None else int(self.targets.clean_B.sum())

    def to(self, device: torch.device) -> Batch:
        """The same rows on a device."""
        sides = [SideTensors(*(tensor.to(device, non_blocking=True) for tensor in side)) for side in self.encoded]
        labels_BT, mask_BT, clean_B = self.targets
        clean_B = None if clean_B is None else clean_B.to(device, non_blocking=True)
        targets = Targets(labels_BT.to(device, non_blocking=True), mask_BT.to(device, non_blocking=True), clean_B)
        return Batch(Encoded(*sides), targets, self.names)


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Encoded rows in memory that others can be taken from: ids in 32 bits, lists as lists.

    Attributes:
        columns: Features of both sides.
        labels_BT: Labels, float32; 0 where the mask is False.
        mask_BT: True where a label is known and the row is in the task's sample space.
        names: What the rows are called.
    """

    columns: EncodedColumns
    labels_BT: npt.NDArray[np.float32]
    mask_BT: npt.NDArray[np.bool_]
    names: RowNames

    @classmethod
    def encode(cls, encoder: Encoder, rows: pa.Table | pa.RecordBatch) -> EncodedRows:
        """Encode raw rows and their labels.

        Raises:
            DataError: A column holds what the schema does not allow.
        """
        schema = encoder.schema
        labels = task_labels(schema, label_columns(schema, rows))
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
        ids = table.select([name for name in id_columns(schema) if name in table.column_names])
        return cls(
            encoder.encode_columns(rows),
            np.stack([labels[task].values for task in schema.task_names], axis=1).astype(np.float32),
            np.stack([labels[task].mask for task in schema.task_names], axis=1),
            RowNames(ids, np.arange(rows.num_rows)),
        )

    @classmethod
    def concat(cls, parts: Sequence[EncodedRows]) -> EncodedRows:
        """The rows of all parts, one part after the other."""
        return cls(
            EncodedColumns.concat([part.columns for part in parts]),
            np.concatenate([part.labels_BT for part in parts]),
            np.concatenate([part.mask_BT for part in parts]),
            RowNames.concat([part.names for part in parts]),
        )

    def take(self, places: Places) -> EncodedRows:
        """The rows at `places`, in that order."""
        return EncodedRows(
            self.columns.take(places),
            self.labels_BT.take(places, axis=0),
            self.mask_BT.take(places, axis=0),
            self.names.take(places),
        )

    @property
    def num_rows(self) -> int:
        """How many there are."""
        return len(self.labels_BT)

    def batch(self, num_clean: int | None = None) -> Batch:
        """All the rows as a step takes them.

        Args:
            num_clean: How many of them, the last ones, have trusted labels; None: no such distinction.
        """
        clean_B = None if num_clean is None else torch.arange(self.num_rows) >= self.num_rows - num_clean
        targets = Targets(torch.from_numpy(self.labels_BT), torch.from_numpy(self.mask_BT), clean_B)
        return Batch(self.columns.tensors(), targets, self.names)


def encode_batch(encoder: Encoder, rows: pa.Table | pa.RecordBatch, num_clean: int | None = None) -> Batch:
    """One batch of all the rows of a table.

    Args:
        encoder: Knows the schema.
        rows: The rows.
        num_clean: How many of them, the last ones, have trusted labels; None: no such distinction.
    """
    return EncodedRows.encode(encoder, rows).batch(num_clean)
