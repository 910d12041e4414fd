"""The solver finds the shortest combination: certified by the optimality conditions, confirmed by enumeration."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from ranker.weighting import factor, kkt_gap, min_norm
from ranker.weighting.min_norm import Array, Mask


def shortest_by_enumeration(gradients_KP: Array) -> float:
    """Length of the shortest convex combination: the least over the affine hulls of all subsets that it lies within."""
    num_tasks = len(gradients_KP)
    lengths = []
    for subset in chain.from_iterable(combinations(range(num_tasks), size) for size in range(1, num_tasks + 1)):
        first, rest = gradients_KP[subset[0]], gradients_KP[list(subset[1:])]
        steps = np.linalg.lstsq((rest - first).T, -first, rcond=None)[0] if len(rest) else np.zeros(0)
        if steps.sum() <= 1 + 1e-9 and (steps >= -1e-9).all():
            lengths.append(float(np.linalg.norm(first + steps @ (rest - first))))
    return min(lengths)


def test_factor_has_the_gram_matrix(hard_gradients: list[Array]) -> None:
    """To the precision of each entry's own tasks, not merely of the largest."""
    for gradients_KP in hard_gradients:
        gram_KK, norms_K = gradients_KP @ gradients_KP.T, np.linalg.norm(gradients_KP, axis=1)
        factor_KR = factor(gram_KK)
        error_KK = np.abs(factor_KR @ factor_KR.T - gram_KK)
        assert (error_KK <= 1e-13 * norms_K[:, None] * norms_K).all()


def test_optimality_conditions(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        gram_KK = gradients_KP @ gradients_KP.T
        weights_K = min_norm(factor(gram_KK))
        assert (weights_K >= 0).all()
        assert weights_K.sum() == pytest.approx(1, abs=1e-12)
        assert kkt_gap(gram_KK, weights_K) <= 1e-6


def test_optimality_conditions_with_auxiliaries(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        gram_KK = gradients_KP @ gradients_KP.T
        for num_primaries in range(1, len(gram_KK) + 1):
            primary_K: Mask = np.arange(len(gram_KK)) < num_primaries
            weights_K = min_norm(factor(gram_KK), primary_K)
            assert (weights_K >= 0).all()
            assert weights_K[primary_K].sum() == pytest.approx(1, abs=1e-9)
            assert kkt_gap(gram_KK, weights_K, primary_K) <= 1e-6


def test_as_short_as_enumeration_finds() -> None:
    rng = np.random.default_rng(0)
    for num_tasks in range(1, 7):
        for _ in range(20):
            gradients_KP = rng.normal(size=(num_tasks, 9)) + rng.normal(size=9)
            length = np.linalg.norm(min_norm(factor(gradients_KP @ gradients_KP.T)) @ gradients_KP)
            assert length == pytest.approx(shortest_by_enumeration(gradients_KP), rel=1e-9)


def test_two_tasks_have_a_closed_form() -> None:
    """Sener and Koltun (2018), figure 1."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        one, two = rng.normal(size=(2, 5)) * 10.0 ** rng.uniform(-3, 3, size=(2, 1))
        expected = np.clip((two @ (two - one)) / ((one - two) @ (one - two)), 0, 1)
        gram_KK = np.array([[one @ one, one @ two], [one @ two, two @ two]])
        np.testing.assert_allclose(min_norm(factor(gram_KK)), [expected, 1 - expected], atol=1e-9)


def test_one_primary_is_the_projection_on_the_dual_cone() -> None:
    """The known trap of iterating on the most violated constraint: g0 = (0,1), g1 = (1,-1), g2 = (0,-1) gives u = 0."""
    gradients_KP = np.array([[0.0, 1.0], [1.0, -1.0], [0.0, -1.0]])
    weights_K = min_norm(factor(gradients_KP @ gradients_KP.T), np.array([True, False, False]))
    np.testing.assert_allclose(weights_K @ gradients_KP, 0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e6, 1e-30, 1e30])
def test_a_common_scale_changes_nothing(scale: float) -> None:
    gradients_KP = np.random.default_rng(0).normal(size=(5, 7))
    gram_KK = gradients_KP @ gradients_KP.T
    np.testing.assert_allclose(min_norm(factor(scale * gram_KK)), min_norm(factor(gram_KK)), atol=1e-9)


def test_identical_tasks_share_evenly() -> None:
    gradients_KP = np.random.default_rng(0).normal(size=(3, 7))
    gradients_KP = gradients_KP[[0, 1, 0, 2, 0]]
    weights_K = min_norm(factor(gradients_KP @ gradients_KP.T))
    assert weights_K[0] == weights_K[2] == weights_K[4] > 0
    np.testing.assert_allclose(min_norm(factor(np.ones((4, 4)))), 0.25)


def test_zero_gradients_have_a_solution() -> None:
    np.testing.assert_allclose(min_norm(factor(np.zeros((3, 3)))), 1 / 3)
    assert kkt_gap(np.zeros((3, 3)), np.full(3, 1 / 3)) == 0


def test_the_gap_tells_a_wrong_answer() -> None:
    gram_KK = np.diag([1.0, 4.0])
    assert kkt_gap(gram_KK, np.array([0.8, 0.2])) <= 1e-12
    assert kkt_gap(gram_KK, np.array([0.5, 0.5])) > 0.1
    conflict_KK = np.array([[1.0, -1.0], [-1.0, 2.0]])
    first: Mask = np.array([True, False])
    assert kkt_gap(conflict_KK, np.array([1.0, 0.5]), first) <= 1e-12
    assert kkt_gap(conflict_KK, np.array([1.0, 0.0]), first) > 0.5  # violates the auxiliary
    assert kkt_gap(conflict_KK, np.array([1.0, 0.9]), first) > 0.1  # goes further than it must
