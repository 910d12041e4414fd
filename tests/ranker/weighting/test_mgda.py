"""MGDA finds the min-norm point of the normalised gradients, and applies it to the raw ones."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize

from ranker.weighting import MGDA, PELTR, PrimaryAuxiliary, kkt_gap
from ranker.weighting.mgda import Normalization, normalized_min_norm, normalizers
from ranker.weighting.min_norm import Array

KINDS: tuple[Normalization, ...] = typing.get_args(Normalization)
TASKS = ("ctr", "cvr", "watch")

kind = pytest.mark.parametrize("kind", KINDS)


def losses_for(gradients_KP: Array) -> Array:
    """Losses of very different size."""
    return np.asarray(10.0 ** np.random.default_rng(len(gradients_KP)).uniform(-3, 2, size=len(gradients_KP)))


def shortest_by_slsqp(gradients_KP: Array) -> Array:
    """Shortest convex combination that a general solver finds, from several starts."""
    results = [
        minimize(
            lambda w: np.square(w @ gradients_KP).sum(),
            start,
            jac=lambda w: 2 * gradients_KP @ (w @ gradients_KP),
            bounds=[(0, 1)] * len(gradients_KP),
            constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 1000},
        )
        for start in np.random.default_rng(0).dirichlet(np.ones(len(gradients_KP)), size=3)
    ]
    weights_K: Array = min(results, key=lambda result: float(result.fun)).x
    return weights_K @ gradients_KP


@kind
def test_optimality_conditions_of_the_normalised_gradients(kind: Normalization, hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        gram_KK = gradients_KP @ gradients_KP.T
        sizes_K = normalizers(gram_KK, losses_for(gradients_KP), kind)
        weights_K = normalized_min_norm(gram_KK, sizes_K)
        assert (weights_K >= 0).all()
        assert weights_K.sum() == pytest.approx(1)
        alpha_K = weights_K * sizes_K / (weights_K * sizes_K).sum()
        normalised_KK = gram_KK / sizes_K[:, None] / sizes_K
        if sizes_K.min() > 1e-10 * sizes_K.max():
            assert kkt_gap(normalised_KK, alpha_K) <= 1e-6


@kind
def test_the_update_on_raw_gradients_helps_every_task(kind: Normalization) -> None:
    """And each as much, in units of its normaliser. Weights of normalised gradients do not do that to raw ones."""
    rng, misled = np.random.default_rng(0), 0
    for _ in range(40):
        gradients_KP = rng.normal(size=(4, 9)) * 10.0 ** rng.uniform(-1, 1, size=(4, 1))
        gram_KK, losses_K = gradients_KP @ gradients_KP.T, 10.0 ** rng.uniform(-2, 0, size=4)
        sizes_K = normalizers(gram_KK, losses_K, kind)
        weights_K = normalized_min_norm(gram_KK, sizes_K)
        gains_K = gram_KK @ weights_K
        assert (gains_K > 0).all()
        used_K = weights_K > 1e-9
        np.testing.assert_allclose((gains_K / sizes_K)[used_K], (gains_K / sizes_K).min(), rtol=1e-6)
        misled += int((gram_KK @ (weights_K * sizes_K) < 0).any())
    assert (misled > 0) == (kind != "none")


@kind
@pytest.mark.parametrize("num_tasks", [2, 3, 5])
def test_the_update_is_along_the_point_that_a_general_solver_finds(kind: Normalization, num_tasks: int) -> None:
    rng = np.random.default_rng(num_tasks)
    for _ in range(6):
        gradients_KP = rng.normal(size=(num_tasks, 11)) + rng.normal(size=11)
        losses_K = rng.uniform(0.2, 2, size=num_tasks)
        norms_K = np.linalg.norm(gradients_KP, axis=1)
        sizes_K = {"none": np.ones(num_tasks), "l2": norms_K, "loss": losses_K, "loss+": losses_K * norms_K}[kind]
        expected_P = shortest_by_slsqp(gradients_KP / sizes_K[:, None])
        method = MGDA.Config(normalization=kind).build([f"task{k}" for k in range(num_tasks)])
        weights_K = method.weights(torch.from_numpy(losses_K), torch.from_numpy(gradients_KP @ gradients_KP.T)).numpy()
        update_P = weights_K @ gradients_KP
        cosine = update_P @ expected_P / np.linalg.norm(update_P) / np.linalg.norm(expected_P)
        assert cosine == pytest.approx(1, abs=1e-7)


def test_two_tasks_of_unit_length_meet_in_the_middle() -> None:
    gradients_TP = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    weights_T = MGDA.Config(normalization="l2").build(TASKS[:2]).weights(torch.ones(2), gradients_TP @ gradients_TP.T)
    torch.testing.assert_close(weights_T, torch.tensor([5 / 6, 1 / 6], dtype=torch.float64))


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=st.integers(-9, 9)))
def test_one_problem_under_three_names(gradients_KP: Array) -> None:
    """PE-LTR without bounds, and primary tasks without auxiliaries."""
    tasks = [f"task{k}" for k in range(len(gradients_KP))]
    gram_KK, losses_K = torch.from_numpy(gradients_KP @ gradients_KP.T), torch.ones(len(tasks))
    expected_K = MGDA.Config().build(tasks).weights(losses_K, gram_KK)
    torch.testing.assert_close(PELTR.Config().build(tasks).weights(losses_K, gram_KK), expected_K)
    torch.testing.assert_close(PrimaryAuxiliary.Config().build(tasks).weights(losses_K, gram_KK), expected_K)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_unit_length_makes_the_scale_of_a_single_task_irrelevant(factor: float) -> None:
    gradients_TP = torch.randn(3, 7, dtype=torch.float64)
    scaled_TP = gradients_TP * torch.tensor([[1.0], [factor], [1.0]])
    method = MGDA.Config(normalization="l2").build(TASKS)
    update_P = method.weights(torch.ones(3), gradients_TP @ gradients_TP.T) @ gradients_TP
    scaled_P = method.weights(torch.ones(3), scaled_TP @ scaled_TP.T) @ scaled_TP
    assert torch.cosine_similarity(update_P, scaled_P, dim=0) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["loss", "loss+"])
def test_a_task_without_loss_takes_no_part(kind: Normalization) -> None:
    method, gram_TT = MGDA.Config(normalization=kind).build(TASKS), torch.eye(3)
    weights_T = method.weights(torch.tensor([1.0, 0.0, 1.0]), gram_TT)
    torch.testing.assert_close(weights_T, torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64))
    assert method.weights(torch.zeros(3), gram_TT).tolist() == [0, 0, 0]
    assert method.state["pareto_stationary_steps"] == 0  # nothing to do is another thing than nothing that helps


@kind
def test_identical_tasks_share_evenly(kind: Normalization) -> None:
    gradient_P = torch.randn(7, dtype=torch.float64)
    gram_TT = (gradient_P @ gradient_P).expand(3, 3)
    weights_T = MGDA.Config(normalization=kind).build(TASKS).weights(torch.full((3,), 0.7), gram_TT)
    torch.testing.assert_close(weights_T, torch.full((3,), 1 / 3, dtype=torch.float64))
