"""Logs that kept only a share of the negatives: how many rows of the full log each row stands for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ranker.schema import Schema
from training.labels import OutputLabels

# Shapes: N = rows


def full_log_weights(
    schema: Schema, labels: Mapping[str, OutputLabels], negative_sampling_rate: Mapping[str, float]
) -> dict[str, NDArray[np.float64]]:
    """Weights that make averages over a thinned log those of the full one.

    A kept negative of a task stands for `1 / rate` rows, a positive for itself. A row of a derived output is as rare as
    its factors make it: the weights of the tasks that are defined on it multiply. Calibrated probabilities are those of
    the full log, so they can only be compared with outcomes under these weights.

    Args:
        schema: Names the outputs.
        labels: Of every output, as `training.labels.task_labels` gives them.
        negative_sampling_rate: By task, the share of negatives that the log kept, in (0, 1]; tasks left out kept all.

    Returns:
        By output, [N], at least 1; of meaning where the output's mask is true.

    Example:
        >>> schema = Schema.model_validate({
        ...     "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        ...     "tasks": [{"name": "ctr", "label": "click"}]})
        >>> known = {"ctr": OutputLabels(np.array([0.0, 1.0]), np.array([True, True]))}
        >>> full_log_weights(schema, known, {"ctr": 0.25})["ctr"].tolist()
        [4.0, 1.0]
    """
    weights: dict[str, NDArray[np.float64]] = {}
    for task in schema.task_names:
        known = labels[task]
        kept = negative_sampling_rate.get(task, 1.0)
        weights[task] = np.where(known.mask & (known.values == 0), 1.0 / kept, 1.0)
    for output in schema.outputs:
        weights[output] = np.multiply.reduce([weights[factor] for factor in schema.factors(output)])
    return weights
