"""Scale of the weights, and Pareto-stationary steps."""

from __future__ import annotations

import pytest
import torch

from ranker.weighting import PELTR

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.ones(3)


def test_scales_change_the_length_of_the_update_only() -> None:
    gradients_TP = torch.randn(3, 7, dtype=torch.float64) + 1
    gram_TT = gradients_TP @ gradients_TP.T
    paper_T = PELTR.Config(bounds=0.1).build(TASKS).weights(LOSSES_T, gram_TT)
    sum_k_T = PELTR.Config(bounds=0.1, scale="sum_k").build(TASKS).weights(LOSSES_T, gram_TT)
    norm_T = PELTR.Config(bounds=0.1, scale="norm").build(TASKS).weights(LOSSES_T, gram_TT)
    assert sum_k_T.sum() == pytest.approx(3)
    assert (norm_T @ gradients_TP).norm() == pytest.approx(gradients_TP.norm(dim=1).mean())
    for scaled_T in (sum_k_T, norm_T):
        torch.testing.assert_close(scaled_T / scaled_T.sum(), paper_T)


def test_sum_k_counts_the_tasks_that_take_part() -> None:
    method = PELTR.Config(scale="sum_k").build(TASKS)
    weights_T = method.weights(LOSSES_T, torch.eye(3), torch.tensor([True, False, True]))
    torch.testing.assert_close(weights_T, torch.tensor([1.0, 0, 1], dtype=torch.float64))


@pytest.mark.parametrize("scale", ["paper", "norm"])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_stationary_steps_are_counted_at_any_scale(scale: str, size: float) -> None:
    method = PELTR.Config.model_validate({"scale": scale}).build(("ctr", "cvr"))
    gradients_TP = size * torch.tensor([[1.0, 2.0], [-2.0, -4.0]], dtype=torch.float64)
    weights_T = method.weights(LOSSES_T[:2], gradients_TP @ gradients_TP.T)
    torch.testing.assert_close(weights_T, torch.tensor([2 / 3, 1 / 3], dtype=torch.float64))
    assert (weights_T @ gradients_TP).norm() <= 1e-6 * size
    assert method.state["pareto_stationary_steps"] == 1
    method.weights(LOSSES_T[:2], size * torch.eye(2))
    assert method.state["pareto_stationary_steps"] == 1
