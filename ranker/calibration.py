"""Calibration: per task, from the model's raw output to a probability (or value) that can be taken at its word."""

# Shapes: B = rows

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ranker.errors import DataError, SchemaError
from ranker.schema import FrozenConfig, Name, Schema

Floats = NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Method = Literal["identity", "platt", "isotonic"]
SamplingRate = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class CalibrationConfig(FrozenConfig):
    """How to calibrate binary tasks. Regression tasks are reported as the model gives them."""

    method: Literal["none", "platt", "isotonic", "auto"] = Field(
        "auto", description="auto: per task, the one with the least log loss on a held-out half of the rows."
    )
    negative_sampling_rate: dict[Name, SamplingRate] = Field(
        default_factory=dict, description="By task, the share of negatives that the log kept; undone after the map."
    )

    def validate_tasks(self, schema: Schema) -> None:
        """Refuse sampling rates for anything but binary tasks of the schema.

        Raises:
            SchemaError: Naming the task.
        """
        binary = [task.name for task in schema.tasks if task.kind == "binary"]
        if wrong := sorted(set(self.negative_sampling_rate) - set(binary)):
            raise SchemaError(f"`negative_sampling_rate` names {wrong}, which are no binary tasks; binary: {binary}")


class Identity(FrozenConfig):
    """The model's own probability: the sigmoid of its logit."""

    kind: Literal["identity"] = "identity"

    def probability(self, logit_B: Floats) -> Floats:
        """Probabilities [B] of raw logits [B]."""
        return sigmoid(logit_B)


class Platt(FrozenConfig):
    """A line before the sigmoid: `sigmoid(slope * logit + intercept)`."""

    kind: Literal["platt"] = "platt"
    slope: float = Field(gt=0, allow_inf_nan=False, description="Positive, so that the order of rows is kept.")
    intercept: Finite

    def probability(self, logit_B: Floats) -> Floats:
        """Probabilities [B] of raw logits [B]."""
        return sigmoid(self.slope * logit_B + self.intercept)


class Isotonic(FrozenConfig):
    """A non-decreasing, piecewise linear map from logit to probability, constant beyond its first and last knot."""

    kind: Literal["isotonic"] = "isotonic"
    x: tuple[Finite, ...] = Field(min_length=1, description="Logits of the knots, ascending strictly.")
    y: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(min_length=1, description="Their probabilities.")

    @model_validator(mode="after")
    def _check(self) -> Isotonic:
        if len(self.x) != len(self.y):
            raise ValueError(f"`x` and `y` must be equally long, got {len(self.x)} and {len(self.y)}")
        if np.any(np.diff(self.x) <= 0) or np.any(np.diff(self.y) < 0):
            raise ValueError("`x` must ascend strictly and `y` must not descend")
        return self

    def probability(self, logit_B: Floats) -> Floats:
        """Probabilities [B] of raw logits [B]."""
        return np.interp(logit_B, self.x, self.y)


CalibrationMap = Annotated[Identity | Platt | Isotonic, Field(discriminator="kind")]


class TaskCalibration(FrozenConfig):
    """The map of one task, and how it came about."""

    kind: Literal["binary", "regression"]
    map: CalibrationMap = Identity()
    negative_sampling_rate: SamplingRate = 1.0
    num_rows: int = Field(0, ge=0, description="Rows that the map was fitted on.")
    held_out_log_loss: dict[Method, Finite] = Field(
        default_factory=dict, description="What `auto` compared, in nats per row."
    )
    note: str | None = Field(None, description="Why the map is not the one that was asked for, if it is not.")

    def apply(self, raw_B: NDArray[Any]) -> Floats:
        """Calibrated values [B] of raw outputs [B]: probabilities if binary, the same values if regression."""
        values_B = np.asarray(raw_B, dtype=np.float64)
        if self.kind == "regression":
            return values_B
        return undo_negative_sampling(self.map.probability(values_B), self.negative_sampling_rate)


class Calibration(FrozenConfig):
    """The maps of all tasks, and the derived outputs as products of what they give.

    Example:
        >>> schema = Schema.model_validate({
        ...     "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        ...     "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "buy"}],
        ...     "outputs": {"ctcvr": "ctr * cvr"}})
        >>> outputs = Calibration.identity(schema).apply({"ctr": np.zeros(1), "cvr": np.zeros(1)})
        >>> {name: float(values[0]) for name, values in outputs.items()}
        {'ctr': 0.5, 'cvr': 0.5, 'ctcvr': 0.25}
    """

    tasks: dict[Name, TaskCalibration] = Field(min_length=1)
    outputs: dict[Name, tuple[Name, ...]] = Field(default_factory=dict, description="Factors of derived outputs.")

    @property
    def negative_sampling_rate(self) -> dict[str, float]:
        """By task, the share of negatives that the log kept."""
        return {name: task.negative_sampling_rate for name, task in self.tasks.items()}

    @classmethod
    def identity(cls, schema: Schema) -> Calibration:
        """No calibration: sigmoid for binary tasks, regression as is."""
        return _assemble(schema, {task.name: TaskCalibration(kind=task.kind) for task in schema.tasks})

    @classmethod
    def fit(
        cls,
        schema: Schema,
        raw: Mapping[str, NDArray[Any]],
        labels: Mapping[str, NDArray[Any]],
        masks: Mapping[str, NDArray[np.bool_]],
        method: CalibrationConfig,
    ) -> Calibration:
        """Fit the map of every binary task on rows that the model was not trained on.

        Where the data cannot carry the method asked for (one class only, logits that do not vary or run against the
        labels), the map is `identity` and `note` says why. If the log was thinned by `negative_sampling_rate`, the
        rows given here must be too: the map is fitted on the thinned log and the thinning undone after it.

        Args:
            schema: Tasks and derived outputs.
            raw: Raw model outputs by task, [B], finite.
            labels: Labels by task, [B]; 0 or 1 for binary tasks where the mask is true.
            masks: By task, [B], true where the row is in the task's sample space and the label is observed.
            method: What to fit.

        Raises:
            SchemaError: A sampling rate is given for something that is no binary task.
            DataError: A raw output is not finite, a label is not 0 or 1, or lengths differ.
        """
        # scikit-learn and scipy come in only here: applying a calibration needs neither.
        from ranker.calibration_fit import fit_task

        method.validate_tasks(schema)
        tasks: dict[str, TaskCalibration] = {}
        for task in schema.tasks:
            fitted = TaskCalibration(kind=task.kind)
            if task.kind == "binary" and method.method != "none":
                fitted = fit_task(*_observed(task.name, raw, labels, masks), method.method)
            rate = method.negative_sampling_rate.get(task.name, 1.0)
            tasks[task.name] = fitted.model_copy(update={"negative_sampling_rate": rate})
        return _assemble(schema, tasks)

    def apply(self, raw: Mapping[str, NDArray[Any]]) -> dict[str, Floats]:
        """Calibrated outputs.

        Args:
            raw: Raw model outputs by task, each [B]: logits for binary tasks, predictions for regression.

        Returns:
            All outputs by name, tasks first, then derived ones; each [B], float64.

        Raises:
            DataError: The raw output of a task is absent.
        """
        if missing := [task for task in self.tasks if task not in raw]:
            raise DataError(f"`raw` must hold the output of every task, {missing} absent; got {sorted(raw)}")
        values = {name: task.apply(raw[name]) for name, task in self.tasks.items()}
        derived = {
            output: np.multiply.reduce([values[name] for name in names]) for output, names in self.outputs.items()
        }
        return values | derived

    def validate_schema(self, schema: Schema) -> None:
        """Refuse a calibration made for another schema.

        Raises:
            SchemaError: Tasks, their kinds or the derived outputs differ.
        """
        kinds = {name: task.kind for name, task in self.tasks.items()}
        if list(kinds.items()) != [(task.name, task.kind) for task in schema.tasks]:
            raise SchemaError(
                f"calibration is for tasks {kinds}, the schema has {list(schema.task_names)}; fit it again"
            )
        if list(self.outputs.items()) != [(output, schema.factors(output)) for output in schema.outputs]:
            raise SchemaError(f"calibration derives {self.outputs}, the schema {schema.outputs}; fit it again")


def sigmoid(logit_B: Floats) -> Floats:
    """`1 / (1 + exp(-logit))`, exact to rounding for large logits of either sign."""
    decay_B = np.exp(-np.abs(logit_B))
    return np.where(logit_B >= 0, 1.0, decay_B) / (1.0 + decay_B)


def undo_negative_sampling(probability_B: Floats, rate: float) -> Floats:
    """Probability in the full log of what has `probability_B` in a log that kept the share `rate` of negatives.

    Dropping negatives divides the odds' denominator by `1 / rate`, so the odds are multiplied by `rate` again: He et
    al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014, section 6.3.
    """
    if rate == 1.0:
        return probability_B
    return rate * probability_B / (rate * probability_B + (1.0 - probability_B))


def _assemble(schema: Schema, tasks: dict[str, TaskCalibration]) -> Calibration:
    return Calibration(tasks=tasks, outputs={output: schema.factors(output) for output in schema.outputs})


def _observed(
    task: str,
    raw: Mapping[str, NDArray[Any]],
    labels: Mapping[str, NDArray[Any]],
    masks: Mapping[str, NDArray[np.bool_]],
) -> tuple[Floats, Floats]:
    """Logits and labels of the rows on which a binary task is observed, checked."""
    columns = {"raw": raw, "labels": labels, "masks": masks}
    if absent := [name for name, by_task in columns.items() if task not in by_task]:
        raise DataError(f"calibration of task '{task}' needs its {absent}, which are absent")
    lengths = {name: len(by_task[task]) for name, by_task in columns.items()}
    if len(set(lengths.values())) != 1:
        raise DataError(f"calibration of task '{task}' needs equally many values, got {lengths}")
    mask_B = np.asarray(masks[task], dtype=np.bool_)
    logit_B = np.asarray(raw[task], dtype=np.float64)[mask_B]
    label_B = np.asarray(labels[task], dtype=np.float64)[mask_B]
    for name, bad_B, values_B, rule in (
        ("raw output", ~np.isfinite(logit_B), logit_B, "finite; the model has diverged, do not publish it"),
        ("label", (label_B != 0) & (label_B != 1), label_B, "0 or 1; mend the data or declare a regression task"),
    ):
        if bad_B.any():
            row = int(np.flatnonzero(mask_B)[bad_B.argmax()])
            raise DataError(f"{name} of task '{task}' must be {rule}; got {values_B[bad_B][0]} in row {row}")
    return logit_B, label_B
