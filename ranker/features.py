"""What a model reads: features of three kinds on three sides, and the embedding tables that they share."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from ranker.frozen_config import FrozenConfig
from ranker.value_encoding import Encoding, Vocabulary

Side = Literal["user", "item", "context"]
Transform = Literal["log1p", "standardize", "quantile", "bucketize"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
ColumnName = Annotated[str, Field(min_length=1)]

REQUEST_SIDES: tuple[Side, ...] = ("user", "context")


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


class LookedUp(_Feature):
    """A feature of values that are looked up in an embedding table."""

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


class CategoricalFeature(LookedUp):
    """One string, integer, boolean or date per row, looked up in an embedding table."""

    kind: Literal["categorical"] = "categorical"


class CategoricalListFeature(LookedUp):
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


def embedded(feature: FeatureSpec) -> bool:
    """Whether a feature ends in an embedding table."""
    return not isinstance(feature, NumericFeature) or feature.bucketized


def table_name(feature: FeatureSpec) -> str:
    """Name of the embedding table that a feature reads: a shared one, or its own."""
    return (feature.table if isinstance(feature, LookedUp) else None) or feature.name
