"""Golden rows: real ones with the scores that training computed, which a bundle must reproduce wherever it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ranker.errors import BundleError
from ranker.manifest import FIX
from ranker.schema import Schema

# Shapes: L = golden rows

Floats = NDArray[np.float64]

_SCORE_PREFIX = "score."


def golden_table(schema: Schema, rows: pa.Table, outputs: Mapping[str, NDArray[Any]]) -> pa.Table:
    """Feature columns of the rows, with the scores that training computed.

    Raises:
        BundleError: There is no row, a column or an output is absent, or a score is not finite.
    """
    if rows.num_rows == 0:
        raise BundleError("`golden_rows` must hold at least one row, got none; pass rows of the test set")
    if missing := [column for column in schema.feature_columns if column not in rows.column_names]:
        raise BundleError(f"`golden_rows` must hold every feature column, {missing} absent; got {rows.column_names}")
    if set(outputs) != set(schema.output_names):
        raise BundleError(f"`golden_outputs` must hold exactly {list(schema.output_names)}, got {sorted(outputs)}")
    table = rows.select(list(schema.feature_columns))
    for output in schema.output_names:
        score_L = np.asarray(outputs[output], dtype=np.float64)
        if score_L.shape != (rows.num_rows,) or not np.isfinite(score_L).all():
            raise BundleError(
                f"`golden_outputs` of '{output}' must be {rows.num_rows} finite numbers, one per row, "
                f"got shape {score_L.shape} with {np.count_nonzero(~np.isfinite(score_L))} not finite"
            )
        table = table.append_column(_SCORE_PREFIX + output, pa.array(score_L))
    return table


def golden_scores(path: Path, golden: pa.Table, output: str) -> Floats:
    """Scores of one output as training computed them.

    Raises:
        BundleError: The file has none.
    """
    if (name := _SCORE_PREFIX + output) not in golden.column_names:
        raise BundleError(f"'{path}' lacks the column '{name}'; {FIX}")
    return np.asarray(golden.column(name).to_numpy(), dtype=np.float64)
