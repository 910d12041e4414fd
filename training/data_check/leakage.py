"""How well a feature alone predicts a label: suspiciously well, where it was written down after the fact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ranker.schema import FrozenConfig
from training.data_check.feature_values import FeatureValues
from training.data_check.groups import Floats, Ints
from training.labels import OutputLabels
from training.metrics import auc

PRIOR_ROWS = 20.0  # rows of the overall rate that are mixed into the rate of each value
MIN_ROWS = 20  # positives, and negatives, below which no AUC is taken

Bools = NDArray[np.bool_]

# Shapes: R = sampled rows, V = values of a feature, N = values in all rows


class SingleFeatureAuc(FrozenConfig):
    """What one feature alone achieves on rows that it was not fitted on.

    Attributes:
        feature, task: Their names.
        by: Whether the `value` was used, or only whether it is `missing`.
        auc: Of the label, or for a regression of its being above the median.
        standard_error: Of the AUC.
        num_rows, num_positives: Rows it was measured on.
    """

    feature: str
    task: str
    by: Literal["value", "missing"]
    auc: float = Field(ge=0, le=1)
    standard_error: float = Field(ge=0)
    num_rows: int = Field(ge=1)
    num_positives: int = Field(ge=1)


class _Halves(NamedTuple):
    """Rows of a task, and which of them are for fitting; the others judge."""

    positive_R: Bools
    labelled_R: Bools
    fit_R: Bools


def single_feature_aucs(
    features: Mapping[str, FeatureValues], labels: Mapping[str, OutputLabels], kinds: Mapping[str, str], groups_R: Ints
) -> Iterator[SingleFeatureAuc]:
    """Every feature against every task; pairs with too few rows are left out.

    Args:
        features: Values of the sampled rows, by feature.
        labels: Labels of the same rows, by task.
        kinds: `binary` or `regression`, by task.
        groups_R: Whole users are on one side of the cut between rows that fit and rows that judge.
    """
    for task, label in labels.items():
        if not label.mask.any():
            continue
        cut = 0.5 if kinds[task] == "binary" else float(np.median(label.values[label.mask]))
        halves = _Halves(label.values > cut, label.mask, groups_R % 2 == 0)
        for feature, values in features.items():
            for by, scores_R in (("value", _scores(values, halves)), ("missing", values.missing_R.astype(np.float64))):
                if (found := _judged(scores_R, halves)) is not None:
                    yield SingleFeatureAuc.model_validate({"feature": feature, "task": task, "by": by, **found})


def auc_error(area: float, num_positives: int, num_negatives: int) -> float:
    """Standard error of an AUC: Hanley and McNeil, "The Meaning and Use of the Area under a ROC Curve", 1982.

    Example:
        >>> round(auc_error(0.8, 50, 200), 4)
        0.0395
    """
    of_positives = area / (2 - area) - area**2
    of_negatives = 2 * area**2 / (1 + area) - area**2
    variance = area * (1 - area) + (num_positives - 1) * of_positives + (num_negatives - 1) * of_negatives
    return float(np.sqrt(max(variance, 0.0) / (num_positives * num_negatives)))


def _judged(scores_R: Floats, halves: _Halves) -> dict[str, float] | None:
    """The AUC on the judging half, in the direction that the fitting half shows; NaN scores take no part."""
    known_R = halves.labelled_R & ~np.isnan(scores_R)
    fit, judge = known_R & halves.fit_R, known_R & ~halves.fit_R
    positives = int(halves.positive_R[judge].sum())
    negatives = int(judge.sum()) - positives
    fitted = auc(scores_R[fit], halves.positive_R[fit])
    if fitted is None or min(positives, negatives) < MIN_ROWS or len(np.unique(scores_R[judge])) < 2:
        return None
    area = auc(scores_R[judge], halves.positive_R[judge])
    assert area is not None  # there are positives and negatives
    area = area if fitted >= 0.5 else 1 - area
    return {
        "auc": area,
        "standard_error": auc_error(area, positives, negatives),
        "num_rows": positives + negatives,
        "num_positives": positives,
    }


def _scores(values: FeatureValues, halves: _Halves) -> Floats:
    """Numbers as they are; categorical values by the smoothed rate of the fitting half, lists by their mean."""
    if values.numbers_R is not None:
        return values.numbers_R
    fit_R = halves.labelled_R & halves.fit_R
    prior = float(halves.positive_R[fit_R].mean()) if fit_R.any() else 0.0
    used_N = fit_R[values.row_N]
    codes_N = values.code_N[used_N]
    rows_V = np.bincount(codes_N, minlength=values.num_values)
    positives_V = np.bincount(codes_N, weights=halves.positive_R[values.row_N[used_N]], minlength=values.num_values)
    rate_V = (positives_V + PRIOR_ROWS * prior) / (rows_V + PRIOR_ROWS)
    num_rows = len(values.missing_R)
    sums_R = np.bincount(values.row_N, weights=rate_V[values.code_N], minlength=num_rows)
    lengths_R = np.bincount(values.row_N, minlength=num_rows)
    return np.where(lengths_R > 0, sums_R / np.maximum(lengths_R, 1), prior)
