"""What one impression looks like: ids, features on three sides, tasks in their sample spaces, derived outputs."""

from __future__ import annotations

import hashlib
from typing import Literal, Self

from pydantic import Field, model_validator

from ranker.features import (
    REQUEST_SIDES,
    CategoricalFeature,
    CategoricalListFeature,
    ColumnName,
    FeatureSpec,
    LookedUp,
    Name,
    NumericFeature,
    Side,
    TableSpec,
    Transform,
    embedded,
    table_name,
)
from ranker.frozen_config import FrozenConfig
from ranker.value_encoding import Encoding, Hashing, Vocabulary

__all__ = [
    "REQUEST_SIDES",
    "CategoricalFeature",
    "CategoricalListFeature",
    "Encoding",
    "FeatureSpec",
    "FrozenConfig",
    "Hashing",
    "Ids",
    "Name",
    "NumericFeature",
    "Schema",
    "Side",
    "TableSpec",
    "TaskSpec",
    "Transform",
    "Vocabulary",
    "Where",
    "embedded",
    "embedding_dim",
    "table_name",
]


class Where(FrozenConfig):
    """A sample space: the rows in which every named label has the given value."""

    where: dict[ColumnName, int] = Field(min_length=1)


class TaskSpec(FrozenConfig):
    """One thing to predict."""

    name: Name
    label: ColumnName = Field(description="Label column. Null means not observed: no loss, no metric.")
    kind: Literal["binary", "regression"] = "binary"
    space: Literal["everywhere"] | Where = Field(
        "everywhere", description="Rows on which the task is defined, e.g. {where: {click: 1}}."
    )
    features: tuple[Name, ...] | None = Field(
        None, min_length=1, description="Features that the task may depend on; null: all. Costs a pass per task."
    )

    @model_validator(mode="after")
    def _check_space(self) -> Self:
        if self.label in self.conditions:
            raise ValueError(
                f"`space` of task '{self.name}' must not fix its own label '{self.label}', which would leave nothing "
                "to predict; condition on another label"
            )
        return self

    @property
    def conditions(self) -> dict[str, int]:
        """Label values that a row must have to be in the task's sample space; empty for everywhere."""
        return {} if isinstance(self.space, str) else self.space.where


class Ids(FrozenConfig):
    """Columns that identify rows; each is optional, what needs one says so."""

    user: ColumnName | None = None
    item: ColumnName | None = None
    request: ColumnName | None = Field(None, description="Groups the rows that were shown together.")
    timestamp: ColumnName | None = None


class Schema(FrozenConfig):
    """One impression: its ids, features, tasks and derived outputs.

    Example:
        >>> schema = Schema.model_validate({
        ...     "ids": {"user": "user_id", "item": "item_id"},
        ...     "features": [{"name": "age", "side": "user", "kind": "numeric"}],
        ...     "tasks": [{"name": "ctr", "label": "click"},
        ...               {"name": "cvr", "label": "buy", "space": {"where": {"click": 1}}}],
        ...     "outputs": {"ctcvr": "ctr * cvr"},
        ... })
        >>> schema.output_names
        ('ctr', 'cvr', 'ctcvr')
    """

    ids: Ids = Ids()
    embedding_dim: int = Field(16, ge=1, description="Columns of every table that names no other width.")
    tables: dict[Name, TableSpec] = Field(default_factory=dict)
    features: tuple[FeatureSpec, ...] = Field(min_length=1)
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    outputs: dict[Name, str] = Field(
        default_factory=dict, description="Derived outputs: products of tasks, e.g. {ctcvr: ctr * cvr}."
    )

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        _refuse_repeats("feature", [feature.name for feature in self.features])
        _refuse_repeats("task", list(self.task_names))
        _refuse_repeats("id column", [column for column in self.ids.model_dump().values() if column is not None])
        return self

    @model_validator(mode="after")
    def _check_task_features(self) -> Self:
        known = {feature.name for feature in self.features}
        for task in self.tasks:
            if unknown := [name for name in task.features or () if name not in known]:
                raise ValueError(
                    f"`features` of task '{task.name}' names {unknown}, which are no features; "
                    f"features: {sorted(known)}"
                )
        return self

    @model_validator(mode="after")
    def _check_labels(self) -> Self:
        for feature in self.features:
            if feature.column in self.label_columns:
                raise ValueError(
                    f"feature '{feature.name}' reads the label column '{feature.column}': "
                    "a label is not known when ranking; remove the feature"
                )
        for key, column in self.ids.model_dump().items():
            if column in self.label_columns:
                raise ValueError(f"`ids.{key}` must not be the label column '{column}'; name another column")
        return self

    @model_validator(mode="after")
    def _check_tables(self) -> Self:
        shared = {
            feature.name: feature.table for feature in self.features if isinstance(feature, LookedUp) and feature.table
        }
        for feature, table in shared.items():
            if table not in self.tables:
                raise ValueError(
                    f"feature '{feature}' names table '{table}', which `tables` does not define; "
                    f"defined: {sorted(self.tables) or 'none'}"
                )
        if unused := sorted(set(self.tables) - set(shared.values())):
            raise ValueError(
                f"tables {unused} are used by no feature; remove them, or name them in a feature's `table`"
            )
        own = {feature.name for feature in self.features if feature.name not in shared}
        if clash := sorted(own & set(self.tables)):
            raise ValueError(f"tables {clash} are named like features that do not use them; rename the tables")
        return self

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        for output in self.outputs:
            factors = self.factors(output)
            if output in self.task_names:
                raise ValueError(f"output '{output}' is also a task; give it another name")
            if unknown := [factor for factor in factors if factor not in self.task_names]:
                raise ValueError(
                    f"output '{output}' multiplies {unknown}, which are no tasks; tasks: {sorted(self.task_names)}"
                )
            if len(set(factors)) < max(len(factors), 2):
                raise ValueError(
                    f"output '{output}' must be a product of different tasks, like 'ctr * cvr', "
                    f"got '{self.outputs[output]}'"
                )
            if other := [factor for factor in factors if self.task(factor).kind != "binary"]:
                raise ValueError(
                    f"output '{output}' multiplies {other}, which are not binary; only probabilities multiply"
                )
        return self

    def factors(self, output: str) -> tuple[str, ...]:
        """Names of the tasks whose product a derived output is."""
        return tuple(part.strip() for part in self.outputs[output].split("*"))

    def task(self, name: str) -> TaskSpec:
        """The task of that name.

        Raises:
            KeyError: No such task.
        """
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(f"no task named '{name}'; tasks: {sorted(self.task_names)}")

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the tasks, in order."""
        return tuple(task.name for task in self.tasks)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of all that a model reports: the tasks, then the derived outputs."""
        return self.task_names + tuple(self.outputs)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Label columns, those of sample spaces included, each once."""
        names = [task.label for task in self.tasks] + [c for task in self.tasks for c in task.conditions]
        return tuple(dict.fromkeys(names))

    def side_features(self, side: Literal["request", "item"]) -> tuple[FeatureSpec, ...]:
        """Features in model order: `request` is what one request has once (user, then context), `item` the rest."""
        sides: tuple[Side, ...] = REQUEST_SIDES if side == "request" else ("item",)
        return tuple(feature for wanted in sides for feature in self.features if feature.side == wanted)

    def columns(self, side: Side) -> tuple[str, ...]:
        """Raw columns that the features of one side read, each once, in order."""
        return tuple(dict.fromkeys(feature.column for feature in self.features if feature.side == side))

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """Raw columns that any feature reads, each once."""
        return tuple(dict.fromkeys(feature.column for feature in self.features))

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change whenever the schema does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def embedding_dim(schema: Schema, feature: FeatureSpec) -> int:
    """Columns of the embedding table that a feature reads."""
    table = feature.table if isinstance(feature, LookedUp) else None
    own = schema.tables[table].embedding_dim if table else getattr(feature, "embedding_dim", None)
    return own or schema.embedding_dim


def _refuse_repeats(what: str, names: list[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{what} names must be unique, got {repeated} more than once; rename them")
