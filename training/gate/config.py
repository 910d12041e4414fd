"""What the gate lets through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, FiniteFloat, model_validator

from ranker.errors import SchemaError
from ranker.schema import FrozenConfig, Name, Schema

Metric = Literal["auc", "gauc", "ndcg", "log_loss", "predicted_over_observed", "ece", "rmse"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Loss = Annotated[FiniteFloat, Field(ge=0)]

ALLOWED_LOSS: Mapping[Metric, float] = {
    "auc": 0.005,
    "gauc": 0.005,
    "ndcg": 0.005,
    "log_loss": 0.01,
    "predicted_over_observed": 0.1,
    "ece": 0.1,
    "rmse": 0.01,
}


class Floor(FrozenConfig):
    """Where a metric has to be, whatever the champion does; both ends count as inside."""

    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"`at_least` must not exceed `at_most`, got {self.at_least:g} and {self.at_most:g}")
        return self


# Of a model that orders no better than chance, of one that knows the answer, and of one whose probabilities mislead.
FLOORS: Mapping[Metric, Floor] = {
    "auc": Floor(at_least=0.55, at_most=0.999),
    "predicted_over_observed": Floor(at_least=0.8, at_most=1.25),
}


class Limits(FrozenConfig):
    """Limits by metric. What is not named keeps the limit of the level above; null takes it away."""

    allowed_loss: dict[Metric, Loss | None] = Field(
        default_factory=dict,
        description="How much worse than the champion: AUC, GAUC, NDCG absolute; log loss and RMSE as a share of the "
        "champion's; ECE as a share of the observed rate; predicted over observed in distance from 1.",
    )
    floors: dict[Metric, Floor | None] = Field(default_factory=dict, description="Where the metric has to be.")


class GateConfig(Limits):
    """When a challenger may replace the champion.

    Example:
        >>> config = GateConfig.model_validate({"allowed_loss": {"auc": 0.002},
        ...                                     "outputs": {"cvr": {"allowed_loss": {"auc": 0.01}}}})
        >>> config.allowed("ctr", "auc"), config.allowed("cvr", "auc"), config.allowed("cvr", "gauc")
        (0.002, 0.01, 0.005)
    """

    outputs: dict[Name, Limits] = Field(default_factory=dict, description="Limits of single tasks or derived outputs.")
    max_gain: float | None = Field(
        0.5, gt=0, le=1, description="Largest believable share of the champion's distance to AUC 1; null: believe all."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="That all intervals of the gate hold at once.")
    strict: bool = Field(False, description="Refuse also what is not shown to be within its limits.")
    resamples: int = Field(1000, ge=100, description="Bootstrap samples of the users.")
    min_positives: int = Field(50, ge=2, description="Positives, and negatives, without which an output is not judged.")
    min_users: int = Field(20, ge=2, description="Users, or what else is resampled, without which it is not judged.")
    ndcg_at: tuple[Annotated[int, Field(ge=1)], ...] = Field((10,), min_length=1, description="Places of NDCG@k.")
    seed: int = Field(0, ge=0)

    def allowed(self, output: str, metric: Metric) -> float | None:
        """Allowed loss of one metric of one output; None: not compared."""
        own = self.outputs[output].allowed_loss if output in self.outputs else {}
        for limits in (own, self.allowed_loss):
            if metric in limits:
                return limits[metric]
        return ALLOWED_LOSS[metric]

    def floor(self, output: str, metric: Metric) -> Floor | None:
        """Floor of one metric of one output, if it has one."""
        own = self.outputs[output].floors if output in self.outputs else {}
        for limits in (own, self.floors):
            if metric in limits:
                return limits[metric]
        return FLOORS.get(metric)

    def validate_outputs(self, schema: Schema) -> None:
        """Refuse limits for outputs that the schema does not have.

        Raises:
            SchemaError: Naming them.
        """
        if unknown := sorted(set(self.outputs) - set(schema.output_names)):
            raise SchemaError(f"`gate.outputs` names {unknown}, which are no outputs; outputs: {schema.output_names}")
