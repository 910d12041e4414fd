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
    mean_T = PELTR.Config(bounds=0.1, scale="mean").build(TASKS).weights(LOSSES_T, gram_TT)
    assert sum_k_T.sum() == pytest.approx(3)
    assert (norm_T @ gradients_TP).norm() == pytest.approx(gradients_TP.norm(dim=1).mean())
    torch.testing.assert_close(mean_T, paper_T / 3)
    for scaled_T in (sum_k_T, norm_T):
        torch.testing.assert_close(scaled_T / scaled_T.sum(), paper_T)


def test_sum_k_counts_the_tasks_that_take_part() -> None:
    method = PELTR.Config(scale="sum_k").build(TASKS)
    weights_T = method.weights(LOSSES_T, torch.eye(3), torch.tensor([True, False, True]))
    torch.testing.assert_close(weights_T, torch.tensor([1.0, 0, 1], dtype=torch.float64))


@pytest.mark.parametrize("scale", ["paper", "mean", "sum_k", "norm"])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_stationary_steps_move_nothing_and_are_counted_at_any_scale(scale: str, size: float) -> None:
    method = PELTR.Config.model_validate({"scale": scale}).build(("ctr", "cvr"))
    gradients_TP = size * torch.tensor([[1.0, 2.0], [-2.0, -4.0]], dtype=torch.float64)
    weights_T = method.weights(LOSSES_T[:2], gradients_TP @ gradients_TP.T)
    assert weights_T.tolist() == [0, 0]
    assert method.state["pareto_stationary_steps"] == 1
    method.weights(LOSSES_T[:2], size * torch.eye(2))
    assert method.state["pareto_stationary_steps"] == 1


def test_a_short_gradient_beside_a_long_one_is_not_stationary() -> None:
    """The update is 1e-14 of the mean squared norm, and yet points where the short gradient does."""
    method = PELTR.Config().build(("ctr", "cvr"))
    gradients_TP = torch.tensor([[1e-7, 0.0], [0.0, 1.0]], dtype=torch.float64)
    update_P = method.weights(LOSSES_T[:2], gradients_TP @ gradients_TP.T) @ gradients_TP
    assert (gradients_TP @ update_P > 0).all()
    assert torch.cosine_similarity(update_P, gradients_TP[0], dim=0) == pytest.approx(1)
    assert method.state["pareto_stationary_steps"] == 0
