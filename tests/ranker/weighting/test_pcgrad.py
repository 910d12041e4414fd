"""PCGrad on the Gram matrix is the published algorithm on the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torchjd.aggregation import PCGrad as TorchJDPCGrad

from ranker.weighting import PCGrad
from ranker.weighting.min_norm import Array
from ranker.weighting.pcgrad import project_conflicts, visiting_orders

TASKS = ("ctr", "cvr", "watch", "buy")
LOSSES_T = torch.ones(4)


def published(gradients_KP: Array, orders: Sequence[Sequence[int]]) -> Array:
    """Algorithm 1 of the paper, on the gradients themselves; the projected gradients, one per row."""
    projected_KP = gradients_KP.copy()
    for i, order in enumerate(orders):
        for j in order:
            inner = projected_KP[i] @ gradients_KP[j]
            if inner < 0:
                projected_KP[i] -= inner / (gradients_KP[j] @ gradients_KP[j]) * gradients_KP[j]
    return projected_KP


def orders_for(num_tasks: int, step: int = 0) -> list[list[int]]:
    return visiting_orders(0, step, [f"task{k}" for k in range(num_tasks)], range(num_tasks))


def test_every_projected_gradient_is_as_published(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        orders = orders_for(len(gradients_KP))
        rows_KK = project_conflicts(gradients_KP @ gradients_KP.T, orders)
        difference_K = np.linalg.norm(rows_KK @ gradients_KP - published(gradients_KP, orders), axis=1)
        assert (difference_K <= 1e-9 * np.linalg.norm(gradients_KP, axis=1)).all()


def test_weights_are_at_least_one(hard_gradients: list[Array]) -> None:
    for gradients_KP in hard_gradients:
        rows_KK = project_conflicts(gradients_KP @ gradients_KP.T, orders_for(len(gradients_KP)))
        assert (rows_KK >= 0).all()
        np.testing.assert_allclose(np.minimum(rows_KK.diagonal(), 1), 1)


@pytest.mark.parametrize("num_tasks", [2, 3, 5])
def test_torchjd_agrees_on_the_same_orders(num_tasks: int) -> None:
    names = [f"task{k}" for k in range(num_tasks)]
    method = PCGrad.Config(seed=7).build(names)
    for step in range(6):
        gradients_KP = torch.randn(num_tasks, 6, dtype=torch.float64)
        weights_K = method.weights(torch.ones(num_tasks), gradients_KP @ gradients_KP.T)
        orders = [
            torch.tensor([i, *order]) for i, order in enumerate(visiting_orders(7, step, names, range(num_tasks)))
        ]
        with patch("torch.randperm", side_effect=orders):
            expected_P = TorchJDPCGrad()(gradients_KP)
        torch.testing.assert_close(weights_K @ gradients_KP, expected_P)


def test_two_tasks_have_a_closed_form() -> None:
    for _ in range(20):
        gradients_TP = torch.randn(2, 3, dtype=torch.float64)
        gram_TT = gradients_TP @ gradients_TP.T
        expected_T = 1 + (-gram_TT[0, 1]).relu() / gram_TT.diagonal()
        torch.testing.assert_close(PCGrad.Config().build(TASKS[:2]).weights(LOSSES_T[:2], gram_TT), expected_T)


def test_without_conflict_it_is_the_sum_or_the_mean() -> None:
    assert PCGrad.Config().build(TASKS).weights(LOSSES_T, torch.eye(4)).tolist() == [1, 1, 1, 1]
    assert PCGrad.Config(scale="mean").build(TASKS).weights(LOSSES_T, torch.eye(4)).tolist() == [0.25] * 4


def test_two_opposing_tasks_stand_still() -> None:
    gradients_TP = torch.tensor([[1.0, 2.0], [-2.0, -4.0]])
    method = PCGrad.Config().build(TASKS[:2])
    assert method.weights(LOSSES_T[:2], gradients_TP @ gradients_TP.T).tolist() == [0, 0]
    assert method.state["pareto_stationary_steps"] == 1


def test_the_order_matters_and_comes_from_the_seed_and_the_step() -> None:
    gradients_TP = torch.randn(4, 3, dtype=torch.float64)
    gram_TT = gradients_TP @ gradients_TP.T
    method, other = PCGrad.Config(seed=1).build(TASKS), PCGrad.Config(seed=2).build(TASKS)
    steps = [method.weights(LOSSES_T, gram_TT) for _ in range(8)]
    assert any(not torch.allclose(one_T, next_T) for one_T, next_T in pairwise(steps))
    assert any(not torch.equal(other.weights(LOSSES_T, gram_TT), weights_T) for weights_T in steps)
    again = PCGrad.Config(seed=1).build(TASKS)
    assert all(torch.equal(again.weights(LOSSES_T, gram_TT), weights_T) for weights_T in steps)


def test_orders_visit_every_other_task_once() -> None:
    for step in range(5):
        for i, order in enumerate(orders_for(5, step)):
            assert sorted([i, *order]) == [0, 1, 2, 3, 4]


def test_orders_are_even() -> None:
    first = [order[0] for step in range(300) for order in orders_for(4, step)]
    counts_T = np.bincount(first)
    assert counts_T.sum() == 1200
    assert (abs(counts_T - 300) < 75).all()  # five standard deviations


def test_orders_belong_to_names() -> None:
    """Neither positions nor absent tasks change in which order two others are visited."""
    whole = [[TASKS[j] for j in order] for order in visiting_orders(3, 5, TASKS, range(4))]
    names = ("buy", "watch", "ctr", "cvr")
    moved = [[names[j] for j in order] for order in visiting_orders(3, 5, names, range(4))]
    assert [moved[names.index(task)] for task in TASKS] == whole
    present = [0, 1, 3]
    partial = [[TASKS[present[j]] for j in order] for order in visiting_orders(3, 5, TASKS, present)]
    assert partial == [[task for task in whole[i] if task != "watch"] for i in present]
