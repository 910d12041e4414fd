"""What one night's data looked like: small, plain, and the next nights' reference."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, ValidationError

from ranker.atomic import replace_file
from ranker.errors import DataError
from ranker.schema import FrozenConfig
from training.data_check.duplicate_counter import Duplicates
from training.data_check.histogram import Histogram
from training.data_check.leakage import SingleFeatureAuc
from training.data_check.seen_values import SeenValues
from training.data_check.times import TimeProfile


class Rate(FrozenConfig):
    """A mean over rows, with the standard error that whole users as units give it."""

    value: FiniteFloat
    standard_error: float = Field(ge=0)


class ColumnProfile(FrozenConfig):
    """A column that the experiment reads.

    Attributes:
        type: In the words of Arrow.
        family: Types of one family can take each other's place: `number`, `text`, `boolean`, `time`, `list of ...`, ...
    """

    type: str
    family: str


class FeatureProfile(FrozenConfig):
    """A feature.

    Attributes:
        column: That it reads.
        table: Embedding table of its values; None for numbers.
        is_id: Whether it shares a table with user or item ids, whose values come and go by nature.
        null_rate: Share of rows without a value; for lists, null or empty ones.
        histogram: Of a random sample of the rows.
        seen: Its values, for categorical features.
    """

    column: str
    table: str | None
    is_id: bool
    null_rate: Rate
    histogram: Histogram
    seen: SeenValues | None


class TaskProfile(FrozenConfig):
    """The labels of a task, in its sample space.

    Attributes:
        kind: `binary` or `regression`.
        column: Of the label.
        num_rows: Rows that are in the sample space and have a label.
        null_rate: Share of all rows whose label is null.
        mean: Of the labels: the rate of a binary one; None without labels.
        std: Their standard deviation.
    """

    kind: Literal["binary", "regression"]
    column: str
    num_rows: int = Field(ge=0)
    null_rate: Rate
    mean: Rate | None
    std: float = Field(ge=0)


class DataProfile(FrozenConfig):
    """One night's data.

    Attributes:
        date: The day that was asked for.
        num_rows: Rows profiled.
        columns: The columns of features and labels.
        features: By name; of those that read the same values in the same way, the first.
        tasks: By name.
        times: None where the schema names no timestamp, or their unit is unknown.
        timestamp_column: That the schema names; None: none.
        duplicates: None where the schema does not name what tells impressions apart.
        leakage: How well each feature alone predicts each label.
    """

    version: Literal[1] = 1
    date: dt.date
    num_rows: int = Field(ge=0)
    columns: dict[str, ColumnProfile]
    features: dict[str, FeatureProfile]
    tasks: dict[str, TaskProfile]
    times: TimeProfile | None
    timestamp_column: str | None
    duplicates: Duplicates | None
    leakage: tuple[SingleFeatureAuc, ...]

    def save(self, path: Path) -> None:
        """Write the profile as JSON, whole or not at all."""
        replace_file(path, self.model_dump_json(indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> DataProfile:
        """Read what `save` wrote.

        Raises:
            DataError: The file cannot be read, or is no profile; names the file and the fix.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as exc:
            raise DataError(
                f"data profile '{path}' cannot be read: {exc}; remove it, and the night is compared with others"
            ) from exc
