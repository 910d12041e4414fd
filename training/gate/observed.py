"""What was observed of one output: the rows where it is defined, whose they are, and whether they suffice to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ranker.schema import Schema
from training.gate.config import GateConfig
from training.gate.scores import JudgedRows
from training.labels import OutputLabels, task_labels
from training.metrics.arrays import Bools, Floats, Ints, group_codes
from training.thinning import full_log_weights

# Shapes: N = rows, n = rows on which an output is defined, C = clusters

Unit = Literal["users", "requests", "rows"]


@dataclass(frozen=True, slots=True)
class Clusters:
    """What is resampled as a whole.

    Attributes:
        unit: Users where the schema names them, else requests, else single rows.
        codes_N: Cluster of each row, in 0..count - 1. A row of a null user or request is a cluster of its own.
        count: C.
    """

    unit: Unit
    codes_N: Ints
    count: int

    @classmethod
    def of(cls, rows: JudgedRows, num_rows: int) -> Clusters:
        """The clusters of these rows."""
        ids_N, unit = (rows.user_ids, "users") if rows.user_ids is not None else (rows.request_ids, "requests")
        if ids_N is None:
            return cls("rows", np.arange(num_rows), num_rows)
        codes_N, count = group_codes(ids_N, num_rows, ordered=True)
        alone_N = codes_N < 0
        codes_N[alone_N] = count + np.arange(alone_N.sum())
        return cls("users" if unit == "users" else "requests", codes_N, count + int(alone_N.sum()))


@dataclass(frozen=True, slots=True)
class Observed:
    """One output on the rows where it is defined.

    Attributes:
        output: Its name.
        binary: Whether it is a probability.
        mask_N: True where it is defined; what follows is of those rows.
        labels_n: What came of them.
        row_weights_n: Rows of the full log that each stands for.
        clusters_n: Cluster of each.
        requests_n: Request of each, -1 where unknown; None where the schema names none.
    """

    output: str
    binary: bool
    mask_N: Bools
    labels_n: Floats
    row_weights_n: Floats
    clusters_n: Ints
    requests_n: Ints | None

    @property
    def rate(self) -> float:
        """Share of positives in the full log, or the mean label of a regression."""
        return float(np.average(self.labels_n, weights=self.row_weights_n))

    def problem(self, config: GateConfig, clusters: Clusters) -> str | None:
        """Why the output cannot be judged, in words; None if it can."""
        if self.binary:
            positives = int(self.labels_n.sum())
            for count, what in ((positives, "positives"), (len(self.labels_n) - positives, "negatives")):
                if count < config.min_positives:
                    return f"{count} {what}; `gate.min_positives` asks for {config.min_positives}"
        elif len(self.labels_n) < config.min_positives:
            return f"{len(self.labels_n)} rows; `gate.min_positives` asks for {config.min_positives}"
        drawn = len(np.unique(self.clusters_n))
        if drawn < config.min_users:
            return f"rows of {drawn} {clusters.unit}; `gate.min_users` asks for {config.min_users}"
        return None


def observe(schema: Schema, rows: JudgedRows) -> tuple[Clusters, dict[str, Observed]]:
    """The clusters of the rows, and what was observed of every output, in the schema's order.

    Raises:
        DataError: As `training.labels.task_labels`.
        ValueError: Ids are not one per row.
    """
    known = task_labels(schema, rows.labels)
    weights = full_log_weights(schema, known, rows.negative_sampling_rate)
    num_rows = len(next(iter(known.values())).mask)
    clusters = Clusters.of(rows, num_rows)
    requests_N = None if rows.request_ids is None else group_codes(rows.request_ids, num_rows)[0]
    regressions = {task.name for task in schema.tasks if task.kind == "regression"}
    return clusters, {
        output: _observed(output, output not in regressions, known[output], weights[output], clusters, requests_N)
        for output in schema.output_names
    }


def _observed(
    output: str,
    binary: bool,
    known: OutputLabels,
    weights_N: Floats,
    clusters: Clusters,
    requests_N: NDArray[Any] | None,
) -> Observed:
    mask_N = known.mask
    return Observed(
        output=output,
        binary=binary,
        mask_N=mask_N,
        labels_n=known.values[mask_N],
        row_weights_n=weights_N[mask_N],
        clusters_n=clusters.codes_N[mask_N],
        requests_n=None if requests_N is None else requests_N[mask_N],
    )
