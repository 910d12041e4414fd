"""Golden rows: real ones with the scores that training computed, which a bundle must reproduce wherever it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ranker.calibration import Calibration
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


class Disagreement(NamedTuple):
    """A score that is not as training computed it."""

    output: str
    row: int
    expected: float
    found: float


def compare(
    calibration: Calibration, raw: Mapping[str, NDArray[Any]], expected: Mapping[str, Floats], tolerance: float
) -> tuple[float, Disagreement | None]:
    """Hold scores against those that training computed.

    A score agrees if raw outputs within the tolerance of those that were found would have given it, or if it is itself
    within the tolerance: a calibration may be steep, and then makes much of the rounding of a raw output.

    Args:
        calibration: From raw outputs to scores.
        raw: Raw outputs [L] by task, as found.
        expected: Scores [L] by output, as training computed them.
        tolerance: Of raw outputs and scores; relative where they exceed 1.

    Returns:
        The largest difference of a score, and the first that disagrees.
    """
    found = calibration.apply(raw)
    ends = [
        calibration.apply(
            {task: raw_L + sign * tolerance * np.maximum(1, np.abs(raw_L)) for task, raw_L in raw.items()}
        )
        for sign in (-1, 1)
    ]
    largest, first = 0.0, None
    for output, expected_L in expected.items():
        scale_L = np.maximum(1, np.abs(expected_L))
        low_L = np.minimum.reduce([found[output], *(end[output] for end in ends)]) - tolerance * scale_L
        high_L = np.maximum.reduce([found[output], *(end[output] for end in ends)]) + tolerance * scale_L
        # NaN compares false, so it disagrees as well.
        agrees_L = (low_L <= expected_L) & (expected_L <= high_L)
        if first is None and not agrees_L.all():
            row = int(agrees_L.argmin())
            first = Disagreement(output, row, float(expected_L[row]), float(found[output][row]))
        largest = max(largest, float((np.abs(found[output] - expected_L) / scale_L).max(initial=0.0)))
    return largest, first
