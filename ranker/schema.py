"""What one impression looks like: ids, features on three sides, tasks in their sample spaces, derived outputs."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Side = Literal["user", "item", "context"]
Transform = Literal["log1p", "standardize", "quantile", "bucketize"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
ColumnName = Annotated[str, Field(min_length=1)]

REQUEST_SIDES: tuple[Side, ...] = ("user", "context")
MAX_ROWS = 2**30  # of one kind in a table: encoded rows are 32 bits wide


class FrozenConfig(BaseModel):
    """Base of every section that a user writes: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Vocabulary(FrozenConfig):
    """Each value seen often enough in training gets a row of its own; the others share the unknown row or a few more.

    The keys of `overflow` are left out of a dump where they have their defaults, so that a schema that does without
    them keeps the fingerprint that it had before there were any.
    """

    kind: Literal["vocabulary"] = "vocabulary"
    min_count: int = Field(2, ge=1, description="Values seen fewer times share the unknown row, which so gets trained.")
    max_size: int | None = Field(None, ge=1, description="Keep only the most frequent values; null keeps all.")
    overflow: Literal["unknown", "hash"] = Field(
        "unknown",
        exclude_if=lambda policy: policy == "unknown",
        description="Row of a value without its own: the unknown row, or by its hash one of `overflow_buckets`.",
    )
    overflow_buckets: int | None = Field(
        None,
        ge=1,
        le=MAX_ROWS,
        exclude_if=lambda buckets: buckets is None,
        description="Rows that values without their own share by their hash; needs `overflow: hash`.",
    )

    @model_validator(mode="after")
    def _check_overflow(self) -> Self:
        if self.overflow == "hash" and self.overflow_buckets is None:
            raise ValueError("`overflow: hash` needs `overflow_buckets`, the number of rows to share; set it")
        if self.overflow == "unknown" and self.overflow_buckets is not None:
            raise ValueError("`overflow_buckets` needs `overflow: hash`; set that, or drop the key")
        return self


class Hashing(FrozenConfig):
    """Stateless: a value's row is its hash modulo `num_buckets`; nothing to fit, collisions accepted."""

    kind: Literal["hash"] = "hash"
    num_buckets: int = Field(
        ge=1, le=MAX_ROWS, description="Rows of the table, the missing and the unknown row not counted."
    )


Encoding = Annotated[Vocabulary | Hashing, Field(discriminator="kind")]


class TableSpec(FrozenConfig):
    """An embedding table that several features may share."""

    encoding: Encoding = Vocabulary()
    embedding_dim: int | None = Field(None, ge=1, description="Columns of the table; null takes the schema's.")


class _Feature(FrozenConfig):
    name: Name
    side: Side
    source: ColumnName | None = Field(None, description="Column that holds the raw value; null: the feature's name.")

    @property
    def column(self) -> str:
        """Name of the raw column."""
        return self.source or self.name


class _LookedUp(_Feature):
    table: Name | None = Field(None, description="Shared table; null: a table of its own, named as the feature.")
    encoding: Encoding = Field(Vocabulary(), description="Of the feature's own table.")
    embedding_dim: int | None = Field(None, ge=1, description="Columns of its own table; null takes the schema's.")

    @model_validator(mode="after")
    def _leave_shared_table_alone(self) -> Self:
        for key, value, default in (
            ("encoding", self.encoding, Vocabulary()),
            ("embedding_dim", self.embedding_dim, None),
        ):
            if self.table is not None and value != default:
                raise ValueError(
                    f"`{key}` of feature '{self.name}' must be set in `tables.{self.table}`, the table that it shares"
                )
        return self


class CategoricalFeature(_LookedUp):
    """One string, integer, boolean or date per row, looked up in an embedding table."""

    kind: Literal["categorical"] = "categorical"


class CategoricalListFeature(_LookedUp):
    """A list of categorical values per row, pooled to one embedding. An empty list pools to zero."""

    kind: Literal["categorical_list"] = "categorical_list"
    pooling: Literal["mean", "sum"] = "mean"
    max_length: int = Field(50, ge=1, description="Longer lists keep their last values, the most recent by custom.")


class NumericFeature(_Feature):
    """A number per row, optionally through log1p and then one of standardize, quantile and bucketize.

    `quantile` maps to a rank in [0, 1]; `bucketize` maps to an embedding table. A missing value becomes 0 after
    the transforms (the mean, for standardize), or the missing row of the bucket table.
    """

    kind: Literal["numeric"] = "numeric"
    transforms: tuple[Transform, ...] = ("standardize",)
    missing_indicator: bool = Field(False, description="Add a 0/1 column that tells a missing value from a mean one.")
    num_buckets: int = Field(32, ge=2, description="Quantile buckets of `bucketize` when no boundaries are given.")
    boundaries: tuple[FiniteFloat, ...] | None = Field(
        None, min_length=1, description="Fixed bucket boundaries, ascending; a bucket begins at its boundary."
    )
    embedding_dim: int | None = Field(None, ge=1, description="Columns of the bucket table.")

    @property
    def bucketized(self) -> bool:
        """Whether the feature ends in an embedding table rather than in a number."""
        return "bucketize" in self.transforms

    @model_validator(mode="after")
    def _check_transforms(self) -> Self:
        scales = [step for step in self.transforms if step != "log1p"]
        if len(scales) > 1 or len(set(self.transforms)) < len(self.transforms) or "log1p" in self.transforms[1:]:
            raise ValueError(
                f"`transforms` of feature '{self.name}' must be log1p, if wanted, and then at most one of "
                f"standardize, quantile and bucketize, got {list(self.transforms)}"
            )
        return self

    @model_validator(mode="after")
    def _check_buckets(self) -> Self:
        for key in ("num_buckets", "boundaries", "embedding_dim"):
            if not self.bucketized and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"`{key}` of feature '{self.name}' needs `bucketize` in `transforms`; add it, or drop the key"
                )
        if self.bucketized and self.missing_indicator:
            raise ValueError(
                f"`missing_indicator` of feature '{self.name}' must be false with `bucketize`, whose table has a row "
                "for missing values; drop it"
            )
        if self.boundaries is not None and list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(
                f"`boundaries` of feature '{self.name}' must ascend strictly, got {list(self.boundaries)}; sort them"
            )
        return self


FeatureSpec = Annotated[
    CategoricalFeature | CategoricalListFeature | NumericFeature,
    Field(discriminator="kind"),
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
            feature.name: feature.table for feature in self.features if isinstance(feature, _LookedUp) and feature.table
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


def embedded(feature: FeatureSpec) -> bool:
    """Whether a feature ends in an embedding table."""
    return not isinstance(feature, NumericFeature) or feature.bucketized


def table_name(feature: FeatureSpec) -> str:
    """Name of the embedding table that a feature reads: a shared one, or its own."""
    return (feature.table if isinstance(feature, _LookedUp) else None) or feature.name


def embedding_dim(schema: Schema, feature: FeatureSpec) -> int:
    """Columns of the embedding table that a feature reads."""
    table = feature.table if isinstance(feature, _LookedUp) else None
    own = schema.tables[table].embedding_dim if table else getattr(feature, "embedding_dim", None)
    return own or schema.embedding_dim


def _refuse_repeats(what: str, names: list[str]) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{what} names must be unique, got {repeated} more than once; rename them")
