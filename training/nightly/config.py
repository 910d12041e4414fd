"""What a night does beside training."""

from __future__ import annotations

from pydantic import Field

from ranker.schema import FrozenConfig, Name


class FeatureView(FrozenConfig):
    """Features to put into the store once the new model is live."""

    view: Name
    key: str = Field(min_length=1, description="Column of the entity ids.")
    path: str = Field(min_length=1, description="Parquet file or folder; `{date}` is replaced by the night's date.")
    event_time: str | None = Field(None, description="Column that says which of an entity's rows is the latest.")
    ttl_seconds: float | None = Field(
        None, gt=0, description="Time after which the rows count as missing; null: never."
    )


class NightlyConfig(FrozenConfig):
    """What `ranker-train nightly` does beside training.

    Example:
        >>> NightlyConfig.model_validate({"window_days": 14}).partition
        'date'
    """

    window_days: int | None = Field(None, ge=1, description="Days up to the date to train on; null: all there are.")
    partition: str = Field("date", min_length=1, description="Key of the folders `key=YYYY-MM-DD` that hold the days.")
    warm_start: bool = Field(True, description="Go on from the live model where there is one.")
    warm_epochs: int | None = Field(
        None, ge=1, description="Epochs when going on from the live model; null: as `training.epochs`."
    )
    features: tuple[FeatureView, ...] = Field((), description="Views to fill in the feature store after publishing.")
    keep_versions: int = Field(14, ge=2, description="Published versions to keep in the registry.")
    keep_states: int = Field(7, ge=1, description="Past runs whose training state is kept, to go on from.")
