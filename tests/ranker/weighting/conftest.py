"""Gradients that are hard to balance."""

from __future__ import annotations

import numpy as np
import pytest

from ranker.weighting.min_norm import Array

KINDS = ("random", "duplicate", "opposing", "badly scaled", "nearly parallel", "scaled duplicates", "rank one")


def gradients(kind: str, num_tasks: int, seed: int) -> Array:
    """Gradients, one per row."""
    rng = np.random.default_rng([seed, num_tasks])
    matrix: Array = rng.normal(size=(num_tasks, int(rng.integers(2, 12))))
    if kind == "duplicate":
        matrix[-1] = matrix[0]
    if kind == "opposing":
        matrix[-1] = -matrix[0]
    if kind == "nearly parallel":
        matrix = matrix[0] + 1e-6 * matrix
    if kind in ("badly scaled", "scaled duplicates"):
        matrix *= 10.0 ** rng.uniform(-8, 5, size=(num_tasks, 1))
    if kind == "scaled duplicates":
        matrix[-1] = matrix[0]
    if kind == "rank one":
        matrix = matrix[:, :1]
    return matrix


@pytest.fixture(params=KINDS)
def hard_gradients(request: pytest.FixtureRequest) -> list[Array]:
    """Many cases of one kind, of 1 to 8 tasks."""
    return [gradients(request.param, num_tasks, seed) for num_tasks in range(1, 9) for seed in range(12)]
