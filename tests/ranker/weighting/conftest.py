"""Gradients that are hard to balance, and an exact answer to compare with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations

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


@pytest.fixture
def nearest_without_conflict() -> Callable[[Array, Array], Array]:
    """The independent solution that projections are compared with."""
    return project_by_enumeration


def project_by_enumeration(gradients_KP: Array, vector_P: Array) -> Array:
    """Projection of a vector on {u : <u, g_k> >= 0 for all k}, by enumeration.

    It lies on some face of the cone, where some inner products are 0: of the projections on all faces' subspaces, it is
    the nearest that conflicts with nothing.
    """
    norms_K = np.linalg.norm(gradients_KP, axis=1, keepdims=True)
    units_KP = (gradients_KP / np.where(norms_K > 0, norms_K, 1))[norms_K[:, 0] > 0]
    found = [np.zeros_like(vector_P)]
    for face in chain.from_iterable(combinations(range(len(units_KP)), size) for size in range(len(units_KP) + 1)):
        normals_JP = units_KP[list(face)]
        point_P = vector_P - np.linalg.pinv(normals_JP) @ (normals_JP @ vector_P)
        if (units_KP @ point_P >= -1e-9 * np.linalg.norm(vector_P)).all():
            found.append(point_P)
    return min(found, key=lambda point_P: float(np.linalg.norm(point_P - vector_P)))
