"""What calibration did: how true every probability was before it and is after it, on fitted and on unseen rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, FiniteFloat
from rich.table import Table

from ranker.calibration import Calibration
from ranker.schema import FrozenConfig, Schema
from training.labels import OutputLabels, task_labels
from training.metrics import log_loss, reliability
from training.predictions import Predictions
from training.thinning import full_log_weights

# Shapes: N = rows of a split


class Bin(FrozenConfig):
    """Rows of about equal probability."""

    predicted: FiniteFloat = Field(description="Mean probability.")
    observed: FiniteFloat = Field(description="Share of positives.")
    rows: int = Field(ge=1)


class Truthfulness(FrozenConfig):
    """How true the probabilities of one output are on one split, in the full log; null is what has no rows for it."""

    num_rows: int = Field(ge=0)
    num_positives: int = Field(ge=0)
    log_loss: FiniteFloat | None = Field(description="In nats per row.")
    predicted_over_observed: FiniteFloat | None = Field(description="1 is right on average.")
    ece: FiniteFloat | None = Field(description="Expected calibration error, in [0, 1].")
    bins: tuple[Bin, ...] = Field(description="Of about equally many rows, ascending: points of a reliability plot.")

    @classmethod
    def of(cls, probabilities_N: NDArray[Any], known: OutputLabels, weights_N: NDArray[np.float64]) -> Self:
        """Judge probabilities by labels, each row standing for as many of the full log as its weight says."""
        probabilities, labels, weights = probabilities_N[known.mask], known.values[known.mask], weights_N[known.mask]
        found = reliability(probabilities, labels, weights=weights)
        bins = zip(found.bin_predicted, found.bin_observed, found.bin_rows, strict=True)
        return cls(
            num_rows=len(labels),
            num_positives=int(labels.sum()),
            log_loss=log_loss(probabilities, labels, weights),
            predicted_over_observed=found.predicted_over_observed,
            ece=found.ece,
            bins=tuple(Bin(predicted=predicted, observed=observed, rows=rows) for predicted, observed, rows in bins),
        )


class BeforeAfter(FrozenConfig):
    """One output on one split: the network's own probabilities, and the calibrated ones."""

    before: Truthfulness
    after: Truthfulness


class OutputCalibration(FrozenConfig):
    """One binary output: the map of a task, or the product that a derived output is."""

    output: str
    map: Literal["identity", "platt", "isotonic", "product"]
    negative_sampling_rate: float = Field(1.0, description="Share of negatives that the log kept, undone by `after`.")
    held_out_log_loss: dict[str, FiniteFloat] = Field(
        default_factory=dict, description="By method, what the choice between them was made by."
    )
    note: str | None = Field(None, description="Why the map is not the one that was asked for, if it is not.")
    valid: BeforeAfter = Field(description="The rows on which the maps were fitted.")
    test: BeforeAfter = Field(description="Rows that nothing was fitted on.")


class CalibrationReport(FrozenConfig):
    """Every binary output, in the schema's order."""

    outputs: tuple[OutputCalibration, ...]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Read back what `to_dict` gave.

        Raises:
            ValidationError: It is something else; names the field.
        """
        return cls.model_validate(content)

    def table(self) -> Table:
        """The report for people: before -> after, a line per output and split."""
        table = Table(title="Calibration: before -> after")
        for column in ("output", "map", "rows"):
            table.add_column(column)
        for column in ("predicted / observed", "ECE", "log loss"):
            table.add_column(column, justify="right")
        for found in self.outputs:
            for split, both in (("valid", found.valid), ("test", found.test)):
                pairs = (
                    f"{_shown(getattr(both.before, key))} -> {_shown(getattr(both.after, key))}"
                    for key in ("predicted_over_observed", "ece", "log_loss")
                )
                table.add_row(found.output, found.map, split, *pairs)
        return table


def calibration_report(
    schema: Schema, predictions_valid: Predictions, predictions_test: Predictions, calibration: Calibration
) -> CalibrationReport:
    """Hold a calibration against what was observed.

    Args:
        schema: Names the outputs.
        predictions_valid: Of the rows that the calibration was fitted on.
        predictions_test: Of rows that nothing was fitted on.
        calibration: The fitted maps.

    Raises:
        SchemaError: The calibration is for another schema.
        DataError: As `training.labels.task_labels`.
    """
    calibration.validate_schema(schema)
    binary = [name for name in schema.output_names if name in schema.outputs or schema.task(name).kind == "binary"]
    valid, test = (_before_after(schema, split, calibration, binary) for split in (predictions_valid, predictions_test))
    return CalibrationReport(
        outputs=tuple(
            OutputCalibration(output=name, **_origin(calibration, name), valid=valid[name], test=test[name])
            for name in binary
        )
    )


def _before_after(
    schema: Schema, predictions: Predictions, calibration: Calibration, outputs: list[str]
) -> dict[str, BeforeAfter]:
    known = task_labels(schema, predictions.labels)
    rates = {name: task.negative_sampling_rate for name, task in calibration.tasks.items()}
    weights = full_log_weights(schema, known, rates)
    before, after = (maps.apply(predictions.raw) for maps in (Calibration.identity(schema), calibration))
    return {
        name: BeforeAfter(
            before=Truthfulness.of(before[name], known[name], weights[name]),
            after=Truthfulness.of(after[name], known[name], weights[name]),
        )
        for name in outputs
    }


def _origin(calibration: Calibration, output: str) -> Mapping[str, Any]:
    """How an output's probabilities come about."""
    if output in calibration.outputs:
        return {"map": "product"}
    task = calibration.tasks[output]
    return {
        "map": task.map.kind,
        "negative_sampling_rate": task.negative_sampling_rate,
        "held_out_log_loss": dict(task.held_out_log_loss),
        "note": task.note,
    }


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
