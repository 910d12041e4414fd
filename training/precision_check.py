"""What it costs to serve in lower precision, on real rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranker.calibration import Calibration
from ranker.manifest import PrecisionCheck
from ranker.schema import Schema
from training.config import ExportConfig
from training.labels import OutputLabels
from training.metrics.auc import auc

# Shapes: N = rows

_GROUP, _TOP = 500, 20  # rows that are ranked against each other, and the best of them

RawOutputs = Mapping[str, NDArray[Any]]


def check_precision(
    schema: Schema, exact: RawOutputs, lowered: RawOutputs, labels: Mapping[str, OutputLabels]
) -> PrecisionCheck:
    """Compare two sets of outputs of the same rows: their values, and the order that they bring about.

    Probabilities are those of the network itself: where a calibration is steep, it makes much of any difference.

    Args:
        schema: Names the tasks.
        exact: Raw outputs [N] by task, as training computes them.
        lowered: The same in lower precision.
        labels: Labels of the tasks; only binary ones are judged by their AUC.
    """
    plain = Calibration.identity(schema)
    before, after = plain.apply(exact), plain.apply(lowered)
    losses = []
    for task in exact:
        rows_N = labels[task].mask
        if schema.task(task).kind == "binary":
            aucs = [auc(scores[task][rows_N], labels[task].values[rows_N]) for scores in (exact, lowered)]
            losses += [aucs[0] - aucs[1]] if aucs[0] is not None and aucs[1] is not None else []
    return PrecisionCheck(
        rows=len(next(iter(exact.values()))),
        raw_error=max(largest_error(exact[task], lowered[task]) for task in exact),
        score_error=max(largest_error(before[name], after[name]) for name in before),
        top_k_overlap=min(top_k_overlap(exact[task], lowered[task]) for task in exact),
        auc_loss=max(losses, default=None),
    )


def largest_error(exact_N: NDArray[Any], other_N: NDArray[Any]) -> float:
    """Largest difference of two outputs; relative where they exceed 1."""
    return float((np.abs(other_N - exact_N) / np.maximum(1.0, np.abs(exact_N))).max(initial=0.0))


def misses(check: PrecisionCheck, limits: ExportConfig) -> str:
    """What lower precision costs beyond the limits of the experiment, in words; empty: nothing."""
    found = []
    if not check.score_error <= limits.max_score_error:
        found.append(f"an output differs by {check.score_error:.3g}, max_score_error is {limits.max_score_error:g}")
    if check.top_k_overlap < limits.min_top_k_overlap:
        found.append(f"{check.top_k_overlap:.3f} of the best stay, min_top_k_overlap is {limits.min_top_k_overlap:g}")
    if check.auc_loss is not None and check.auc_loss > limits.max_auc_loss:
        found.append(f"AUC falls by {check.auc_loss:.2g}, max_auc_loss is {limits.max_auc_loss:g}")
    return "; ".join(found)


def top_k_overlap(exact_N: NDArray[Any], other_N: NDArray[Any], group: int = _GROUP, top: int = _TOP) -> float:
    """Mean share of the best rows of each group that two scores have in common.

    Args:
        exact_N: Scores; groups of neighbouring rows stand for requests.
        other_N: Other scores of the same rows.
        group: Rows of a group; fewer rows than that are one group, and rows that fill none are left out.
        top: Best rows of a group that are looked at; half of a group that has fewer than twice as many.

    Example:
        >>> top_k_overlap(np.array([4.0, 3.0, 2.0, 1.0]), np.array([4.0, 1.0, 2.0, 3.0]), top=2)
        0.5
    """
    size = min(group, len(exact_N))
    top = max(1, min(top, size // 2))
    overlaps = []
    for start in range(0, len(exact_N) - size + 1, size):
        best = [set(np.argsort(-scores[start : start + size], kind="stable")[:top]) for scores in (exact_N, other_N)]
        overlaps.append(len(best[0] & best[1]) / top)
    return float(np.mean(overlaps))
