"""PE-LTR solves the problem that its paper states."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import minimize

from ranker.weighting import PELTR, factor, kkt_gap, min_norm
from ranker.weighting.min_norm import Array
from ranker.weighting.pe_ltr import bounded_min_norm, project_on_simplex, relax_and_project

TASKS = ("ctr", "cvr", "watch")


def bounds_for(gradients_KP: Array, total: float) -> Array:
    """Bounds of that sum, unequal, one of them 0 when there are several."""
    bounds_K: Array = np.arange(len(gradients_KP), dtype=np.float64)
    return total * bounds_K / bounds_K.sum() if len(bounds_K) > 1 else np.array([total])


def optimum_by_slsqp(gradients_KP: Array, bounds_K: Array) -> float:
    """Least squared norm that a general solver finds, from several starts."""
    squares = []
    for start in np.random.default_rng(0).dirichlet(np.ones(len(bounds_K)), size=4):
        result = minimize(
            lambda w: np.square(w @ gradients_KP).sum(),
            bounds_K + (1 - bounds_K.sum()) * start,
            jac=lambda w: 2 * gradients_KP @ (w @ gradients_KP),
            bounds=[(c, 1) for c in bounds_K],
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        squares.append(float(result.fun))
    return min(squares)


@pytest.mark.parametrize("total", [0.0, 0.3, 0.999, 1.0])
def test_bounds_and_optimality_conditions(hard_gradients: list[Array], total: float) -> None:
    """With v = H w, stationarity reads: v_i equals the least v wherever w_i is above its bound."""
    for gradients_KP in hard_gradients:
        gram_KK, bounds_K = gradients_KP @ gradients_KP.T, bounds_for(gradients_KP, total)
        weights_K = bounded_min_norm(gram_KK, bounds_K)
        assert (weights_K >= bounds_K).all()
        assert weights_K.sum() == pytest.approx(1, abs=1e-9)
        inner_K, scale = gram_KK @ weights_K, np.trace(gram_KK) / len(gram_KK)
        assert (weights_K - bounds_K) @ (inner_K - inner_K.min()) <= 1e-6 * scale


@pytest.mark.parametrize("total", [0.0, 0.3, 0.9])
def test_the_shifted_gradients_certify_it(hard_gradients: list[Array], total: float) -> None:
    for gradients_KP in hard_gradients:
        gram_KK, bounds_K = gradients_KP @ gradients_KP.T, bounds_for(gradients_KP, total)
        shift_KK = np.ones((len(bounds_K), 1)) * bounds_K + (1 - total) * np.eye(len(bounds_K))
        alpha_K = (bounded_min_norm(gram_KK, bounds_K) - bounds_K) / (1 - total)
        assert kkt_gap(shift_KK @ gram_KK @ shift_KK.T, alpha_K) <= 1e-6


@pytest.mark.parametrize("num_tasks", [2, 3, 5, 8])
def test_as_short_as_a_general_solver_finds(num_tasks: int) -> None:
    rng = np.random.default_rng(num_tasks)
    for _ in range(8):
        gradients_KP = rng.normal(size=(num_tasks, 11)) + rng.normal(size=11)
        bounds_K = rng.dirichlet(np.ones(num_tasks)) * rng.uniform(0, 0.9)
        weights_K = bounded_min_norm(gradients_KP @ gradients_KP.T, bounds_K)
        expected = optimum_by_slsqp(gradients_KP, bounds_K)
        assert np.square(weights_K @ gradients_KP).sum() == pytest.approx(expected, rel=1e-6)


def test_without_bounds_it_is_mgda(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        gram_KK = gradients_KP @ gradients_KP.T
        np.testing.assert_allclose(bounded_min_norm(gram_KK, np.zeros(len(gram_KK))), min_norm(factor(gram_KK)))


def test_bounds_of_sum_one_leave_no_choice(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        bounds_K = bounds_for(gradients_KP, 1.0)
        for solve in (bounded_min_norm, relax_and_project):
            np.testing.assert_allclose(solve(gradients_KP @ gradients_KP.T, bounds_K), bounds_K, atol=1e-9)


def test_two_step_is_exact_for_two_tasks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        gradients_KP = rng.normal(size=(2, 5)) * 10.0 ** rng.uniform(-2, 2, size=(2, 1))
        bounds_K = rng.dirichlet(np.ones(2)) * rng.uniform(0, 1)
        gram_KK = gradients_KP @ gradients_KP.T
        np.testing.assert_allclose(relax_and_project(gram_KK, bounds_K), bounded_min_norm(gram_KK, bounds_K), atol=1e-7)


def test_two_step_is_feasible_but_not_optimal_for_more() -> None:
    rng, longer = np.random.default_rng(0), 0
    for _ in range(100):
        gradients_KP, bounds_K = rng.normal(size=(4, 7)), np.array([0.1, 0.0, 0.2, 0.05])
        gram_KK = gradients_KP @ gradients_KP.T
        exact_K, two_step_K = bounded_min_norm(gram_KK, bounds_K), relax_and_project(gram_KK, bounds_K)
        assert (two_step_K >= bounds_K).all()
        assert two_step_K.sum() == pytest.approx(1)
        excess = (two_step_K @ gram_KK @ two_step_K) / (exact_K @ gram_KK @ exact_K)
        assert excess >= 1 - 1e-9
        longer += int(excess > 1.001)
    assert longer > 20


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_two_step_survives_identical_gradients_at_any_scale(scale: float) -> None:
    np.testing.assert_allclose(relax_and_project(scale * np.ones((3, 3)), np.zeros(3)), 1 / 3)


def test_projection_is_the_nearest_point() -> None:
    """Its own conditions: the point is moved by one constant wherever the result is positive, and by less elsewhere."""
    rng = np.random.default_rng(0)
    for total in (0.0, 0.4, 1.0):
        for _ in range(20):
            point_K = rng.normal(size=6)
            projected_K = project_on_simplex(point_K, total)
            assert projected_K.sum() == pytest.approx(total, abs=1e-12)
            assert (projected_K >= 0).all()
            moved_K = point_K - projected_K
            if (projected_K > 0).any():
                assert np.ptp(moved_K[projected_K > 0]) <= 1e-12
                assert (moved_K <= moved_K[projected_K > 0].max() + 1e-12).all()


def test_bounds_hold_by_name() -> None:
    gradients_TP = torch.diag(torch.tensor([1.0, 100.0, 10.0]))
    pe_ltr = PELTR.Config(bounds={"watch": 0.1, "cvr": 0.25}).build(TASKS)
    weights_T = pe_ltr.weights(torch.ones(3), gradients_TP @ gradients_TP.T)
    torch.testing.assert_close(weights_T, torch.tensor([0.65, 0.25, 0.1], dtype=torch.float64))


def test_an_absent_task_loses_its_bound_and_the_others_keep_theirs() -> None:
    gradients_TP = torch.diag(torch.tensor([1.0, 100.0, 10.0]))
    pe_ltr = PELTR.Config(bounds={"watch": 0.5, "cvr": 0.5}).build(TASKS)
    weights_T = pe_ltr.weights(torch.ones(3), gradients_TP @ gradients_TP.T, torch.tensor([True, True, False]))
    torch.testing.assert_close(weights_T, torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64))


@pytest.mark.parametrize("mode", ["exact", "two_step"])
def test_modes_are_the_two_solvers(mode: str) -> None:
    gradients_TP = torch.randn(3, 7, dtype=torch.float64)
    gram_TT = gradients_TP @ gradients_TP.T
    pe_ltr = PELTR.Config.model_validate({"mode": mode, "bounds": 0.05}).build(TASKS)
    solve = bounded_min_norm if mode == "exact" else relax_and_project
    np.testing.assert_allclose(pe_ltr.weights(torch.ones(3), gram_TT), solve(gram_TT.numpy(), np.full(3, 0.05)))


def test_bounds_must_leave_a_solution() -> None:
    with pytest.raises(ValueError, match=r"`bounds` must sum to at most 1 .* got 0.4, which is 1.2 over 3 tasks"):
        PELTR.Config(bounds=0.4).build(TASKS)
    with pytest.raises(ValueError, match=r"`bounds` must name tasks among \('ctr', 'cvr', 'watch'\), got \['buy'\]"):
        PELTR.Config(bounds={"buy": 0.1}).build(TASKS)
    for value in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValidationError, match="bounds"):
            PELTR.Config(bounds=value)


def test_bounds_of_ten_tenths_are_one() -> None:
    """0.1 added ten times is not 1 in floating point."""
    tasks = tuple(f"task{t}" for t in range(10))
    weights_T = PELTR.Config(bounds=0.1).build(tasks).weights(torch.ones(10), torch.eye(10))
    torch.testing.assert_close(weights_T, torch.full((10,), 0.1, dtype=torch.float64))
