"""The knobs of the nightly data check: what is measured, and from where on a figure is a warning or an error."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from ranker.schema import FrozenConfig

Severity = Literal["error", "warning"]
Switch = Literal["error", "warning", "off"]
TimestampUnit = Literal["s", "ms", "us", "ns"]
CheckName = Literal[
    "columns",
    "column_types",
    "rows_fewer",
    "rows_more",
    "null_rate",
    "null_rate_jump",
    "label_rate",
    "label_mean",
    "constant_label",
    "drift",
    "drift_ids",
    "new_values",
    "duplicates",
    "timestamps",
    "null_timestamps",
    "old_rows",
    "future_rows",
    "missing_day",
    "leakage",
    "leakage_champion",
]


class Limits(FrozenConfig):
    """A figure beyond `error` is an error, else beyond `warning` a warning; null: never."""

    warning: float | None = Field(ge=0)
    error: float | None = Field(ge=0)


class DataCheckConfig(FrozenConfig):
    """How the day's impressions are profiled and compared with those of the days before.

    Example:
        >>> DataCheckConfig.model_validate({"drift": {"warning": 0.1, "error": None}}).drift.warning
        0.1
    """

    # what is measured
    window_days: int | None = Field(None, ge=1, description="Days up to the date that are profiled; null: all rows.")
    timezone: str = Field("UTC", description="Where the date begins at midnight, like Europe/Madrid.")
    timestamp_unit: TimestampUnit | None = Field(None, description="Of timestamps that are numbers since 1970.")
    history: int = Field(7, ge=1, description="Profiles whose median is what counts, nulls and labels should be.")
    sigmas: float = Field(4.0, gt=0, description="Standard errors by which a difference must exceed chance.")
    sample_rows: int = Field(50_000, ge=100, description="Random rows kept for drift and leakage.")
    max_values: int = Field(20_000, ge=1, description="Different values kept per categorical feature.")
    duplicate_keys: int = Field(5_000_000, ge=1, description="Rows up to which duplicates are counted exactly.")
    num_bins: int = Field(10, ge=2, description="Bins of a numeric feature, of equal shares of the reference.")
    top_values: int = Field(50, ge=1, description="Values of a categorical feature that drift tells apart.")

    # columns and rows
    columns: Switch = Field("warning", description="A feature or label of the reference is gone, or a new one there.")
    column_types: Switch = Field("error", description="A column changed between numbers, text, lists and the like.")
    rows_fewer: Limits = Field(Limits(warning=1.5, error=3.0), description="Median rows over today's.")
    rows_more: Limits = Field(Limits(warning=1.5, error=5.0), description="Today's rows over the median.")

    # values
    null_rate: Limits = Field(Limits(warning=0.9, error=0.999), description="Share of rows without a value.")
    null_rate_jump: Limits = Field(Limits(warning=0.05, error=0.3), description="Its change against the median.")
    label_rate: Limits = Field(
        Limits(warning=1.3, error=3.0), description="Factor between a binary label's rate and its median."
    )
    label_mean: Limits = Field(
        Limits(warning=0.25, error=1.0), description="Change of a regression label's mean, in standard deviations."
    )
    constant_label: Switch = Field("error", description="All labels of a task are the same, or null.")
    drift: Limits = Field(Limits(warning=0.2, error=5.0), description="PSI of a feature, less its bias.")
    drift_ids: Limits = Field(
        Limits(warning=1.0, error=None), description="The same for features that share a table with user or item ids."
    )
    new_values: Limits = Field(Limits(warning=0.2, error=None), description="Share of values never seen before.")

    # rows that should not be there
    duplicates: Limits = Field(Limits(warning=0.001, error=0.05), description="Share of rows that repeat another.")
    timestamps: Switch = Field("warning", description="Timestamps are numbers of a unit that nobody named.")
    null_timestamps: Limits = Field(Limits(warning=0.0, error=0.01), description="Share of rows without a timestamp.")
    old_rows: Limits = Field(Limits(warning=0.0, error=0.01), description="Share of rows before the valid range.")
    max_age_days: int = Field(400, ge=1, description="Days before the date at which the valid range begins.")
    future_rows: Limits = Field(Limits(warning=0.0, error=0.001), description="Share of rows after the date.")
    clock_tolerance_seconds: float = Field(300.0, ge=0, description="How far a clock may run ahead.")
    missing_day: Switch = Field("error", description="No row is of the date.")

    # labels that features give away
    leakage: Limits = Field(Limits(warning=0.9, error=0.99), description="AUC of a label by one feature alone.")
    leakage_champion: Switch = Field("warning", description="One feature alone ranks as well as the live model.")
    champion_share: float = Field(0.95, gt=0, description="Share of the live model's AUC beyond 0.5 that is as well.")

    exempt: dict[CheckName, tuple[str, ...]] = Field(
        default_factory=dict, description="Features, columns or tasks that a check passes over."
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as exc:
            raise ValueError(f"`timezone` must be an IANA name like Europe/Madrid, got '{value}'") from exc
        return value
