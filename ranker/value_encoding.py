"""How the values of a categorical column become rows of an embedding table."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ranker.frozen_config import FrozenConfig

MAX_ROWS = 2**30  # of one kind in a table: encoded rows are 32 bits wide


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
