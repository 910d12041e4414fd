"""Do the tasks pull the shared parameters the same way? Cosines of their gradients over training time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.page.wording import percent, signed

# Shapes: P = measurements, T = tasks

# What counts as much. They only choose words; the figures are always shown.
CONFLICTING = 0.3  # share of measurements in which two gradients point apart
UNRELATED = 0.05  # mean cosine

Floats = NDArray[np.float64]
Relation = Literal["together", "orthogonal", "mixed", "apart", "unknown"]


@dataclass(frozen=True, slots=True)
class PairCosine:
    """How two tasks' gradients of the shared parameters lie to each other.

    Attributes:
        tasks: The pair.
        cosines: At each measurement; None where one of them had no gradient.
        mean: Mean cosine; None without any.
        conflict_rate: Share of measurements with a cosine below 0; None without any.
        late_conflict_rate: The same over the second half of training.
    """

    tasks: tuple[str, str]
    cosines: tuple[float | None, ...]
    mean: float | None
    conflict_rate: float | None
    late_conflict_rate: float | None

    @property
    def relation(self) -> Relation:
        """In one word: `mixed` pull together on average, and often apart; `unknown` never had gradients together."""
        if self.mean is None or self.conflict_rate is None:
            return "unknown"
        if abs(self.mean) < UNRELATED:
            return "orthogonal"
        if self.mean < 0:
            return "apart"
        return "mixed" if self.conflict_rate >= CONFLICTING else "together"

    @property
    def figures(self) -> str:
        """Mean cosine and conflict rate in words; empty where unknown."""
        if self.mean is None or self.conflict_rate is None:
            return ""
        return f"mean cosine {signed(self.mean, 2)}, {percent(self.conflict_rate)} of the measurements below 0"


@dataclass(frozen=True, slots=True)
class GradientAgreement:
    """Gradients of the tasks over training time, over all parameters that they share, embedding tables included.

    Attributes:
        tasks: Names.
        steps: Training step of each measurement.
        norms: Gradient norm of each task at each measurement, [P][T]; None where a task had no labelled row.
        pairs: Every pair of tasks.
    """

    tasks: tuple[str, ...]
    steps: tuple[int, ...]
    norms: tuple[tuple[float | None, ...], ...]
    pairs: tuple[PairCosine, ...]


def gradient_agreement(tasks: Sequence[str], steps: Sequence[int], grams_PTT: Floats) -> GradientAgreement:
    """Cosines and conflicts from Gram matrices.

    Args:
        tasks: Names.
        steps: Training step of each measurement, ascending.
        grams_PTT: Inner products of the tasks' gradients; 0 for a task without one.
    """
    norms_PT = np.sqrt(np.maximum(np.diagonal(grams_PTT, axis1=1, axis2=2), 0))
    late_P = np.arange(len(steps)) >= len(steps) // 2
    pairs = []
    for i, j in combinations(range(len(tasks)), 2):
        length_P = norms_PT[:, i] * norms_PT[:, j]
        known_P = length_P > 0
        cosines_P = np.divide(grams_PTT[:, i, j], length_P, out=np.zeros(len(steps)), where=known_P).clip(-1, 1)
        pairs.append(
            PairCosine(
                tasks=(tasks[i], tasks[j]),
                cosines=tuple(float(c) if known else None for c, known in zip(cosines_P, known_P, strict=True)),
                mean=_mean(cosines_P[known_P]),
                conflict_rate=_mean(cosines_P[known_P] < 0),
                late_conflict_rate=_mean(cosines_P[known_P & late_P] < 0),
            )
        )
    norms = tuple(tuple(float(norm) if norm > 0 else None for norm in row) for row in norms_PT)
    return GradientAgreement(tuple(tasks), tuple(steps), norms, tuple(pairs))


def _mean(values: NDArray[np.float64] | NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None
