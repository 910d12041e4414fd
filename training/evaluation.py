"""What a model is worth on one split: every metric of every output, each on the rows where it is defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from rich.table import Table

from ranker.schema import Schema
from training.labels import OutputLabels, task_labels
from training.metrics import Gauc, Ndcg, Reliability, auc, gauc, log_loss, mse, ndcg, reliability, rmse
from training.thinning import full_log_weights


@dataclass(frozen=True, slots=True)
class OutputReport:
    """Metrics of one output, or of the fused score against one output's labels.

    Attributes:
        output: Name of the output.
        kind: What its labels are.
        num_rows: Rows on which it is defined.
        num_positives: Rows with label 1; None for regression.
        auc, gauc, ndcg: How well it orders rows: all, within users, within requests. None where a kind, an id column or
            the labels do not allow it.
        log_loss, reliability: How true its probabilities are; None for regression and for the fused score.
        mse, rmse: Squared error; None for binary outputs.
        notes: Why a metric that the kind has is None.
    """

    output: str
    kind: Literal["binary", "regression"]
    num_rows: int
    num_positives: int | None = None
    auc: float | None = None
    gauc: Gauc | None = None
    ndcg: tuple[Ndcg, ...] = ()
    log_loss: float | None = None
    reliability: Reliability | None = None
    mse: float | None = None
    rmse: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Metrics of one split.

    Attributes:
        num_rows: Rows of the split.
        outputs: One report per task and derived output, in the schema's order.
        fused: The fused score judged by the labels of each binary output, in the same order; empty without one.
    """

    num_rows: int
    outputs: tuple[OutputReport, ...]
    fused: tuple[OutputReport, ...] = ()

    def __getitem__(self, output: str) -> OutputReport:
        """The report of that output."""
        return next(report for report in self.outputs if report.output == output)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values: an undefined metric is null, never NaN."""
        return {
            "num_rows": self.num_rows,
            "outputs": {report.output: asdict(report) for report in self.outputs},
            "fused": {report.output: asdict(report) for report in self.fused},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """What `to_dict` gave.

        Raises:
            ValidationError: It is something else; names the field.
        """
        return TypeAdapter(cls).validate_python(
            {**content, **{part: tuple(content[part].values()) for part in ("outputs", "fused")}}
        )

    def scalars(self) -> dict[str, float]:
        """Every defined number under a flat name, as `ctr/auc` or `fused.ctr/ndcg@10`: for curves, early stopping."""
        named = [(report.output, report) for report in self.outputs]
        named += [(f"fused.{report.output}", report) for report in self.fused]
        return {f"{name}/{key}": value for name, report in named for key, value in _scalars(report).items()}

    def table(self, title: str = "Evaluation") -> Table:
        """The report for people, one line per output."""
        scalars = [(report.output, report, _scalars(report)) for report in self.outputs]
        scalars += [(f"fused score on {report.output}", report, _scalars(report)) for report in self.fused]
        columns = list(dict.fromkeys(key for _, _, values in scalars for key in values))
        table = Table(title=f"{title} ({self.num_rows:,} rows)")
        table.add_column("output")
        table.add_column("rows", justify="right")
        table.add_column("positives", justify="right")
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right")
        for name, report, values in scalars:
            positives = "" if report.num_positives is None else f"{report.num_positives:,}"
            cells = [f"{values[column]:.4f}" if column in values else "–" for column in columns]
            table.add_row(name, f"{report.num_rows:,}", positives, *cells)
        notes = [f"{name}: {note}" for name, report, _ in scalars for note in report.notes]
        table.caption = "\n".join(notes) or None
        return table


def evaluate(
    schema: Schema,
    outputs: Mapping[str, NDArray[Any]],
    labels: Mapping[str, NDArray[Any]],
    user_ids: NDArray[Any] | None = None,
    request_ids: NDArray[Any] | None = None,
    fused_score: NDArray[Any] | None = None,
    ks: Sequence[int] = (5, 10),
    negative_sampling_rate: Mapping[str, float] = MappingProxyType({}),
) -> EvaluationReport:
    """Judge calibrated outputs by observed labels.

    Args:
        schema: Names the outputs, their labels and sample spaces.
        outputs: For every name in `schema.output_names` one number per row: a probability for binary ones.
        labels: For every name in `schema.label_columns` one value per row; null is NaN or None.
        user_ids: One per row; None: no GAUC.
        request_ids: One per row; None: no NDCG.
        fused_score: One per row, what serving ranks by; None: not judged.
        ks: Places of NDCG@k, each at least 1.
        negative_sampling_rate: By task, the share of negatives that the log kept: probabilities are judged as those of
            the full log.

    Raises:
        DataError: As `training.labels.task_labels`.
        ValueError: An output is missing, holds a NaN, has another length, or is no probability.
    """
    known = task_labels(schema, labels)
    if missing := [name for name in schema.output_names if name not in outputs]:
        raise ValueError(f"`outputs` must hold every output of the schema, got none for {missing}")
    num_rows = len(next(iter(known.values())).mask)
    arrays = {
        **{name: outputs[name] for name in schema.output_names},
        "user_ids": user_ids,
        "request_ids": request_ids,
        "fused_score": fused_score,
    }
    for name, values in arrays.items():
        if values is not None and len(values) != num_rows:
            raise ValueError(f"`{name}` must have one value per row ({num_rows}), got {len(values)}")
    ranks = _Ranks(user_ids, request_ids, tuple(ks))
    weights = full_log_weights(schema, known, negative_sampling_rate)
    regressions = {task.name for task in schema.tasks if task.kind == "regression"}
    reports = tuple(
        _regression(name, outputs[name], known[name])
        if name in regressions
        else _binary(name, outputs[name], known[name], ranks, weights[name])
        for name in schema.output_names
    )
    fused = tuple(
        _binary(name, fused_score, known[name], ranks, None)
        for name in schema.output_names
        if fused_score is not None and name not in regressions
    )
    return EvaluationReport(num_rows, reports, fused)


@dataclass(frozen=True, slots=True)
class _Ranks:
    """Whose rows are ranked together."""

    users: NDArray[Any] | None
    requests: NDArray[Any] | None
    ks: tuple[int, ...]


def _binary(
    name: str, scores: NDArray[Any], known: OutputLabels, ranks: _Ranks, weights: NDArray[np.float64] | None
) -> OutputReport:
    """One output; `weights` say how many rows of the full log each is, None: the scores are no probabilities."""
    mask, scores, labels = known.mask, np.asarray(scores)[known.mask], known.values[known.mask]
    by_user = None if ranks.users is None else gauc(scores, labels, np.asarray(ranks.users)[mask])
    by_request: tuple[Ndcg, ...] = ()
    if ranks.requests is not None:
        requests = np.asarray(ranks.requests)[mask]
        by_request = tuple(ndcg(scores, labels, requests, k) for k in ranks.ks)
    overall = auc(scores, labels)
    notes = []
    if overall is None:
        notes.append("no AUC: " + (f"all {len(labels)} labels are {labels[0]:g}" if len(labels) else "no labels"))
    elif by_user is not None and by_user.value is None:
        notes.append("no GAUC: no user has labels of both classes")
    return OutputReport(
        output=name,
        kind="binary",
        num_rows=len(labels),
        num_positives=int(labels.sum()),
        auc=overall,
        gauc=by_user,
        ndcg=by_request,
        log_loss=None if weights is None else log_loss(scores, labels, weights[mask]),
        reliability=None if weights is None else reliability(scores, labels, weights=weights[mask]),
        notes=tuple(notes),
    )


def _regression(name: str, predictions: NDArray[Any], known: OutputLabels) -> OutputReport:
    predictions, labels = np.asarray(predictions)[known.mask], known.values[known.mask]
    notes = () if len(labels) else ("no error: no labels",)
    return OutputReport(
        name, "regression", len(labels), mse=mse(predictions, labels), rmse=rmse(predictions, labels), notes=notes
    )


def _scalars(report: OutputReport) -> dict[str, float]:
    values: dict[str, float | None] = {"auc": report.auc}
    if report.gauc is not None:
        values["gauc"] = report.gauc.value
    values |= {f"ndcg@{found.k}": found.value for found in report.ndcg}
    values["log_loss"] = report.log_loss
    if report.reliability is not None:
        values["predicted_over_observed"] = report.reliability.predicted_over_observed
        values["ece"] = report.reliability.ece
    values |= {"mse": report.mse, "rmse": report.rmse}
    return {key: value for key, value in values.items() if value is not None}
