"""A few rows whose labels are trusted, drawn anew for every step."""

from __future__ import annotations

from typing import Self

import numpy as np
import pyarrow as pa

from ranker.encoding import Encoder
from ranker.errors import DataError
from training.batches import Batch, EncodedRows
from training.config import CleanRowsConfig
from training.data import Impressions
from training.log_columns import label_values


class CleanRows:
    """Training rows with trusted labels, held in memory.

    Args:
        rows: The trusted ones.
        per_step: Rows to draw for each step of this process.
        seed: With the numbers of epoch and step it decides the draws: none depends on those before.
    """

    def __init__(self, rows: EncodedRows, per_step: int, seed: int) -> None:
        self.rows, self.per_step = rows, min(per_step, rows.num_rows)
        self._seed = seed

    @classmethod
    def load(cls, impressions: Impressions, encoder: Encoder, config: CleanRowsConfig, seed: int) -> Self:
        """Read the trusted training rows.

        Raises:
            DataError: The column holds something else than 0, 1 or null, or marks no training row.
        """
        found = []
        for batch in impressions.rows("train"):
            marks = label_values(batch.column(config.column))
            if marks.dtype.kind != "f" or not np.isin(marks[~np.isnan(marks)], (0, 1)).all():
                raise DataError(
                    f"data '{impressions.path}': column '{config.column}' of training.clean_rows must be boolean, "
                    "or 0, 1 or null; convert it"
                )
            found.append(EncodedRows.encode(encoder, batch.filter(pa.array(marks == 1))))
        rows = EncodedRows.concat(found)
        if not rows.num_rows:
            raise DataError(
                f"data '{impressions.path}': column '{config.column}' of training.clean_rows marks no training row; "
                "mark some with 1, or drop training.clean_rows"
            )
        return cls(rows, config.per_step, seed)

    def beside(self, rows: EncodedRows, epoch: int, step: int) -> Batch:
        """The rows of a step, then `per_step` trusted ones drawn without replacement."""
        random = np.random.default_rng((self._seed, epoch, step))
        drawn = self.rows.take(random.choice(self.rows.num_rows, self.per_step, replace=False))
        return EncodedRows.concat([rows, drawn]).batch(num_clean=self.per_step)
