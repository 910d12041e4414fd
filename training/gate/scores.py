"""What a model says of the rows that it is judged on, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ranker.calibration import Calibration

if TYPE_CHECKING:
    from training.predictions import Predictions

# Shapes: N = rows


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """The rows that both models are judged on.

    Attributes:
        labels: Label columns by name, each [N]; null is NaN or None.
        user_ids: User of each row; None where the schema names none.
        request_ids: Request of each row; None where the schema names none.
        negative_sampling_rate: By task, the share of negatives that the log kept, as in the `calibration` section.
    """

    labels: Mapping[str, NDArray[Any]]
    user_ids: NDArray[Any] | None = None
    request_ids: NDArray[Any] | None = None
    negative_sampling_rate: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, predictions: Predictions, calibration: Calibration) -> JudgedRows:
        """The rows of a network's predictions."""
        rates = calibration.negative_sampling_rate
        return cls(predictions.labels, predictions.user_ids, predictions.request_ids, rates)


@dataclass(frozen=True, slots=True)
class Scores:
    """What one model says of these rows.

    Attributes:
        outputs: Calibrated outputs by name, each [N]: probabilities of the full log, or values of regressions.
        version: Name of the model, for people.
        absent: Why it has no scores for some output of the schema, in words, by output.
    """

    outputs: Mapping[str, NDArray[Any]]
    version: str
    absent: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, predictions: Predictions, calibration: Calibration, version: str = "challenger") -> Scores:
        """The calibrated outputs of a network."""
        return cls(calibration.apply(predictions.raw), version)
