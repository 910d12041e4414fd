"""GradVac on the Gram matrix is the published algorithm on the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torchjd.aggregation import GradVac as TorchJDGradVac

from ranker.weighting import GradVac, PCGrad
from ranker.weighting.gradvac import vaccinate
from ranker.weighting.min_norm import Array
from ranker.weighting.pcgrad import project_conflicts, visiting_orders

TASKS = ("ctr", "cvr", "watch", "buy")
LOSSES_T = torch.ones(4)
NO_CAP = 1 - 1e-12


def published(
    gradients_KP: Array, targets_KK: Array, orders: Sequence[Sequence[int]], beta: float
) -> tuple[Array, Array]:
    """Algorithm 1 of the paper, on the gradients themselves; turned gradients, one per row, and new targets."""
    turned_KP, targets_KK = gradients_KP.copy(), targets_KK.copy()
    for i, order in enumerate(orders):
        for j in order:
            length, other = np.linalg.norm(turned_KP[i]), np.linalg.norm(gradients_KP[j])
            cosine, target = turned_KP[i] @ gradients_KP[j] / length / other, targets_KK[i, j]
            if cosine < target:
                numerator = length * (target * np.sqrt(1 - cosine**2) - cosine * np.sqrt(1 - target**2))
                turned_KP[i] += numerator / (other * np.sqrt(1 - target**2)) * gradients_KP[j]
            targets_KK[i, j] = (1 - beta) * target + beta * cosine
    return turned_KP, targets_KK


def orders_for(num_tasks: int, step: int = 0) -> list[list[int]]:
    return visiting_orders(0, step, [f"task{k}" for k in range(num_tasks)], range(num_tasks))


def gram(gradients_TP: Tensor) -> Tensor:
    return gradients_TP @ gradients_TP.T


@pytest.mark.parametrize("num_tasks", [2, 3, 5, 8])
@pytest.mark.parametrize("spread", [0, 4])
def test_every_turned_gradient_is_as_published(num_tasks: int, spread: int) -> None:
    rng, targets_KK = np.random.default_rng(num_tasks), np.zeros((num_tasks, num_tasks))
    for step in range(12):
        # An offset that comes and goes makes targets of both signs, and gradients above and below them.
        gradients_KP = rng.normal(size=(num_tasks, 9)) + 2 * (step % 3) * rng.normal(size=9) / 3
        gradients_KP *= 10.0 ** rng.uniform(-spread, spread, size=(num_tasks, 1))
        orders = orders_for(num_tasks, step)
        expected_KP, expected_KK = published(gradients_KP, targets_KK, orders, beta=0.3)
        rows_KK, targets_KK = vaccinate(gradients_KP @ gradients_KP.T, targets_KK, orders, 0.3, NO_CAP)
        difference_K = np.linalg.norm(rows_KK @ gradients_KP - expected_KP, axis=1)
        assert (difference_K <= 1e-9 * np.linalg.norm(gradients_KP, axis=1)).all()
        np.testing.assert_allclose(targets_KK, expected_KK, atol=1e-9)


@pytest.mark.parametrize("num_tasks", [2, 3, 5])
def test_torchjd_agrees_on_the_same_orders(num_tasks: int) -> None:
    names = [f"task{k}" for k in range(num_tasks)]
    method, reference = GradVac.Config(seed=7, beta=0.5, max_target=NO_CAP).build(names), TorchJDGradVac(0.5, eps=0.0)
    for step in range(8):
        gradients_KP = torch.randn(num_tasks, 6, dtype=torch.float64) + torch.randn(6, dtype=torch.float64)
        weights_K = method.weights(torch.ones(num_tasks), gram(gradients_KP))
        orders = visiting_orders(7, step, names, range(num_tasks))
        # It draws a permutation of the others' list, not of their positions.
        drawn = [torch.tensor([j - (j > i) for j in order]) for i, order in enumerate(orders)]
        with patch("torch.randperm", side_effect=drawn):
            expected_P = reference(gradients_KP)
        torch.testing.assert_close(weights_K @ gradients_KP, expected_P)


def test_targets_held_at_zero_are_pcgrad(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        gram_KK, orders = gradients_KP @ gradients_KP.T, orders_for(len(gradients_KP))
        rows_KK, targets_KK = vaccinate(gram_KK, np.zeros_like(gram_KK), orders, beta=0, max_target=NO_CAP)
        assert not targets_KK.any()
        difference_K = np.linalg.norm((rows_KK - project_conflicts(gram_KK, orders)) @ gradients_KP, axis=1)
        assert (difference_K <= 1e-6 * np.linalg.norm(gradients_KP, axis=1)).all()


def test_beta_zero_is_pcgrad_step_by_step() -> None:
    gradvac, pcgrad = GradVac.Config(beta=0.0, seed=5).build(TASKS), PCGrad.Config(seed=5).build(TASKS)
    for _ in range(5):
        gram_TT = gram(torch.randn(4, 6, dtype=torch.float64))
        torch.testing.assert_close(gradvac.weights(LOSSES_T, gram_TT), pcgrad.weights(LOSSES_T, gram_TT))


@given(st.floats(-0.999, 0.999), st.floats(-0.99, 0.99), st.floats(1e-6, 1e6))
def test_a_turned_gradient_is_at_its_target(cosine: float, target: float, length: float) -> None:
    gradients_KP = np.array([[1.0, 0.0], [length * cosine, length * np.sqrt(1 - cosine**2)]])
    targets_KK = np.array([[0, target], [-1, 0]])
    rows_KK, _ = vaccinate(gradients_KP @ gradients_KP.T, targets_KK, [[1], [0]], 0.1, NO_CAP)
    turned_KP = rows_KK @ gradients_KP
    reached = turned_KP[0] @ gradients_KP[1] / np.linalg.norm(turned_KP[0]) / length
    assert reached == pytest.approx(max(cosine, target), abs=1e-6)
    np.testing.assert_allclose(turned_KP[1], gradients_KP[1])  # no cosine is below -1


def test_the_average_takes_in_the_cosine_before_the_turn() -> None:
    gradients_TP = torch.tensor([[1.0, 0.0], [-3.0, 4.0]])
    method = GradVac.Config(beta=0.25).build(TASKS[:2])
    method.weights(LOSSES_T[:2], gram(gradients_TP))
    expected_TT = torch.tensor([[0, -0.15], [-0.15, 0]], dtype=torch.float64)
    torch.testing.assert_close(method.state["targets"], expected_TT)
    method.weights(LOSSES_T[:2], gram(gradients_TP.abs()))
    torch.testing.assert_close(method.state["targets"], 0.75 * expected_TT + 0.25 * 0.6 * (1 - torch.eye(2)))


def test_targets_are_not_symmetric_for_three() -> None:
    method = GradVac.Config(beta=0.5).build(TASKS)
    for _ in range(3):
        method.weights(LOSSES_T, gram(torch.randn(4, 3)))
    targets_TT = method.state["targets"]
    assert not torch.allclose(targets_TT, targets_TT.T)
    assert targets_TT.diagonal().tolist() == [0, 0, 0, 0]


def test_a_cap_tames_targets_near_one() -> None:
    gram_KK, targets_KK = np.array([[1.0, 0.5], [0.5, 1.0]]), np.full((2, 2), 0.9999)
    wild_KK, _ = vaccinate(gram_KK, targets_KK, [[1], [0]], 0.01, NO_CAP)
    assert wild_KK[0, 1] == pytest.approx(61, abs=1)
    tame_KK, new_KK = vaccinate(gram_KK, targets_KK, [[1], [0]], 0.01, 0.95)
    assert tame_KK[0, 1] == pytest.approx(0.95 * np.sqrt(0.75 / (1 - 0.95**2)) - 0.5)
    assert new_KK[0, 1] == pytest.approx(0.99 * 0.9999 + 0.01 * 0.5)  # the average itself has no cap


def test_a_vanished_gradient_is_passed_over_and_leaves_its_targets() -> None:
    gradients_KP = np.array([[1.0, 2.0, 0.5], [-2.0, -4.0, -1.0], [0.0, 1.0, -1.0]])
    targets_KK = np.full((3, 3), 0.0)
    rows_KK, new_KK = vaccinate(gradients_KP @ gradients_KP.T, targets_KK, [[1, 2], [0, 2], [0, 1]], 0.5, 0.95)
    np.testing.assert_allclose(rows_KK[:2] @ gradients_KP, 0, atol=1e-9)
    np.testing.assert_allclose(new_KK[:2], [[0, -0.5, 0], [-0.5, 0, 0]])


def test_float32_rounding_of_opposing_gradients_makes_no_nan() -> None:
    method = GradVac.Config(beta=0.5).build(TASKS[:2])
    for _ in range(50):
        gradient_P = torch.randn(101) * 1e-3
        weights_T = method.weights(LOSSES_T[:2], gram(torch.stack([gradient_P, -3 * gradient_P])))
        assert weights_T.isfinite().all()
        assert method.state["targets"].isfinite().all()
        assert method.state["targets"].min() >= -1


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, None])
def test_targets_of_absent_tasks_stay(bad: float | None) -> None:
    """Of inactive ones, and of those whose gradient is not finite."""
    method = GradVac.Config(beta=0.5).build(TASKS)
    method.weights(LOSSES_T, gram(torch.randn(4, 6)))
    before_TT, gradients_TP = method.state["targets"].clone(), torch.randn(4, 6)
    if bad is not None:
        gradients_TP[1, 2] = bad
    method.weights(LOSSES_T, gram(gradients_TP), torch.tensor([True, bad is not None, True, True]))
    after_TT, others = method.state["targets"], [0, 2, 3]
    assert torch.equal(after_TT[1], before_TT[1])
    assert torch.equal(after_TT[:, 1], before_TT[:, 1])
    moved_TT = (after_TT != before_TT)[others][:, others]
    assert torch.equal(moved_TT, ~torch.eye(3, dtype=torch.bool))
