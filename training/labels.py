"""Where sample spaces and missing labels become masks: the one place, for losses and for metrics alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ranker.errors import DataError
from ranker.schema import Schema


class OutputLabels(NamedTuple):
    """Labels of one output.

    Attributes:
        values: float64, one per row; 0 wherever the mask is False.
        mask: True where the label is known and the row is in the output's sample space.
    """

    values: NDArray[np.float64]
    mask: NDArray[np.bool_]


def task_labels(schema: Schema, columns: Mapping[str, NDArray[Any]], first_row: int = 0) -> dict[str, OutputLabels]:
    """Labels and masks of every task and of every derived output.

    A task's label is known where it is not null and every condition of the task's sample space holds; a condition on a
    null label does not hold. A product is 0 where a factor is known to be 0, 1 where all factors are known to be 1, and
    unknown elsewhere: an impression without a click is certain not to have led to a conversion, whatever the
    conversion column says.

    Args:
        schema: Names the tasks, their label columns and sample spaces.
        columns: The columns in `schema.label_columns`: numbers or booleans; null is NaN or None.
        first_row: Number of the first row in the file, for error messages.

    Raises:
        DataError: A column is missing, not numeric, or of another length; a binary label is not 0, 1 or null; a
            regression label is infinite.

    Example:
        >>> schema = Schema.model_validate({
        ...     "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        ...     "tasks": [{"name": "ctr", "label": "click"},
        ...               {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}}],
        ...     "outputs": {"ctcvr": "ctr * cvr"}})
        >>> labels = task_labels(schema, {"click": np.array([0, 1, 1]), "buy": np.array([1.0, 1.0, np.nan])})
        >>> labels["cvr"].mask.tolist(), labels["ctcvr"].values.tolist(), labels["ctcvr"].mask.tolist()
        ([False, True, False], [0.0, 1.0, 0.0], [True, True, False])
    """
    binary = {task.label for task in schema.tasks if task.kind == "binary"}
    numbers: dict[str, NDArray[np.float64]] = {}
    for name in schema.label_columns:
        if name not in columns:
            raise DataError(f"label column '{name}' is missing; add it, or correct the schema's `tasks`")
        numbers[name] = _numbers(name, columns[name], first_row)
        _check_values(name, numbers[name], name in binary, first_row)
    if len({len(values) for values in numbers.values()}) > 1:
        raise DataError(f"label columns must have equal lengths, got { {k: len(v) for k, v in numbers.items()} }")
    labels: dict[str, OutputLabels] = {}
    for task in schema.tasks:
        mask = ~np.isnan(numbers[task.label])
        for column, value in task.conditions.items():
            mask &= numbers[column] == value
        labels[task.name] = OutputLabels(np.where(mask, numbers[task.label], 0.0), mask)
    for output in schema.outputs:
        labels[output] = _product([labels[factor] for factor in schema.factors(output)])
    return labels


def num_labelled(labels: Mapping[str, OutputLabels]) -> dict[str, int]:
    """Rows with a known label, by output: what batches add up to for `check_sample_spaces`."""
    return {name: int(label.mask.sum()) for name, label in labels.items()}


def check_sample_spaces(schema: Schema, rows: Mapping[str, int], split: str = "train") -> None:
    """Refuse a split in which some task has nothing to learn from or to be judged by.

    Args:
        schema: Names the tasks.
        rows: Rows with a known label, by task, summed over the split; derived outputs may be among them.
        split: Named in the message.

    Raises:
        DataError: A task has no row in its sample space.

    Example:
        >>> schema = Schema.model_validate({
        ...     "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        ...     "tasks": [{"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}}]})
        >>> check_sample_spaces(schema, {"cvr": 0}, "valid")
        Traceback (most recent call last):
        ...
        ranker.errors.DataError: task 'cvr' has no row in split 'valid' where click = 1 and 'buy' is not null; ...
    """
    for task in schema.tasks:
        if rows.get(task.name, 0) > 0:
            continue
        conditions = [f"{column} = {value}" for column, value in task.conditions.items()]
        where = " and ".join([*conditions, f"'{task.label}' is not null"])
        raise DataError(
            f"task '{task.name}' has no row in split '{split}' where {where}; "
            "give it more data, another split, or another `space`, or remove the task"
        )


def _product(factors: list[OutputLabels]) -> OutputLabels:
    zero = np.logical_or.reduce([factor.mask & (factor.values == 0) for factor in factors])
    one = np.logical_and.reduce([factor.mask & (factor.values == 1) for factor in factors])
    return OutputLabels(one.astype(np.float64), zero | one)


def _numbers(name: str, values: NDArray[Any], first_row: int) -> NDArray[np.float64]:
    values = np.asarray(values)
    if values.ndim != 1:
        raise DataError(f"label column '{name}' must hold one value per row, got shape {values.shape}")
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    if values.dtype.kind != "O":
        raise DataError(f"label column '{name}' must be numeric or boolean, got {values.dtype}; convert it")
    missing = pd.isna(values)
    # A column of Python objects, as a nullable column becomes: numpy would turn the text "1" into the number 1.
    if pd.api.types.infer_dtype(values[~missing]) not in {"integer", "boolean", "floating", "empty"}:
        wrong = [i for i in np.flatnonzero(~missing) if not isinstance(values[i], (int, float, np.number, np.bool_))]
        if wrong:
            raise DataError(
                f"label column '{name}' must be numeric or boolean, "
                f"got {values[wrong[0]]!r} in row {first_row + wrong[0]}; convert it"
            )
    numbers = np.full(len(values), np.nan)
    numbers[~missing] = values[~missing].astype(np.float64)
    return numbers


def _check_values(name: str, numbers: NDArray[np.float64], binary: bool, first_row: int) -> None:
    wrong = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1)) if binary else np.isinf(numbers)
    if not wrong.any():
        return
    row = int(wrong.argmax())
    rule, fix = (
        ("0, 1 or null", "map it to 0 and 1, or make the task `kind: regression`")
        if binary
        else ("finite or null", "replace it by a number or by null")
    )
    raise DataError(f"label column '{name}' must be {rule}, got {numbers[row]:g} in row {first_row + row}; {fix}")
