"""Learnt noise: Kendall's objective by autograd, and where it comes to rest by scipy."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from scipy.optimize import minimize_scalar
from torch import Tensor

from ranker.weighting import DescentConfig, Uncertainty

# Shapes: T = 3 tasks

TASKS = ("ctr", "cvr", "watch")
KINDS = {"watch": "regression", "cvr": "binary"}
LOSSES_T = torch.tensor([0.2, 0.01, 7.0], dtype=torch.float64)
REST_T = torch.log(torch.tensor([2.0, 2.0, 1.0]) * LOSSES_T)


def build(**options: object) -> Uncertainty:
    """The method, with `watch` a regression."""
    return Uncertainty.Config.model_validate({"kinds": KINDS, **options}).build(TASKS)


def objective(log_variances_T: Tensor, losses_T: Tensor) -> Tensor:
    """Equations 7 and 10 of the paper, with s = log sigma^2."""
    factors_T = torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64)
    return (factors_T * torch.exp(-log_variances_T) * losses_T + log_variances_T / 2).sum()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_learns_as_autograd_would(optimizer: str) -> None:
    method = build(descent={"optimizer": optimizer, "learning_rate": 0.1})
    s_T = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    theirs: torch.optim.Optimizer = (
        torch.optim.Adam([s_T], lr=0.1, eps=0.0) if optimizer == "adam" else torch.optim.SGD([s_T], lr=0.1)
    )
    for _ in range(30):
        losses_T = LOSSES_T * torch.rand(3, dtype=torch.float64)
        theirs.zero_grad()
        leaf_T = losses_T.clone().requires_grad_()
        objective(s_T, leaf_T).backward()
        torch.testing.assert_close(method.weights(losses_T), leaf_T.grad)  # the weight is what the loss is scaled by
        theirs.step()
        torch.testing.assert_close(method.state["log_variances_T"], s_T.detach())


def test_rests_where_the_objective_is_least() -> None:
    for task, loss in enumerate(LOSSES_T.tolist()):
        factor = 0.5 if task == 2 else 1.0
        least = minimize_scalar(lambda s, f=factor, x=loss: f * math.exp(-s) * x + s / 2, bracket=(-6, 3)).x
        assert REST_T[task].item() == pytest.approx(least, rel=1e-5)
    method = build(descent={"optimizer": "sgd", "learning_rate": 0.2})
    for _ in range(400):
        weights_T = method.weights(LOSSES_T)
    torch.testing.assert_close(method.state["log_variances_T"], REST_T)
    torch.testing.assert_close(weights_T, 1 / (2 * LOSSES_T))  # in both forms


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_nothing_moves_at_the_optimum(optimizer: str) -> None:
    """Losses for which it is at s = 0, so that the gradient has no rounding error either."""
    method = build(descent={"optimizer": optimizer})
    losses_T = torch.tensor([0.5, 0.5, 1.0])
    for _ in range(3):
        method.weights(losses_T)
    assert method.state["log_variances_T"].tolist() == [0, 0, 0]


def test_small_losses_are_not_clamped() -> None:
    method = build()
    for _ in range(200):
        method.weights(LOSSES_T)
    assert (method.state["log_variances_T"][:2] < -0.5).all()


def test_the_cap_holds_weights_and_leaves_s_alone() -> None:
    capped, free = build(max_weight=1.5), build()
    for _ in range(100):
        capped_T, free_T = capped.weights(LOSSES_T), free.weights(LOSSES_T)
        torch.testing.assert_close(capped_T, free_T.clamp(max=1.5))
    assert free_T.max() > 1.5
    assert torch.equal(capped.state["log_variances_T"], free.state["log_variances_T"])


def test_who_takes_no_part_is_frozen() -> None:
    method = build()
    method.weights(LOSSES_T)
    before = method.state_dict()
    method.weights(torch.tensor([0.3, torch.nan, 0.4]))
    method.weights(LOSSES_T, active_T=torch.tensor([True, False, True]))
    for name in ("log_variances_T", "adam_mean_T", "adam_square_T", "adam_steps_T"):
        moved_T = method.state[name] != before[name]
        assert moved_T.tolist() == [True, False, True], name


def test_a_lone_task_keeps_its_weight_and_one_task_in_all_still_learns() -> None:
    method = build()
    for _ in range(10):
        method.weights(LOSSES_T)
    lone_T = method.weights(LOSSES_T, active_T=torch.tensor([False, True, False]))
    assert lone_T[1] > 1
    single = Uncertainty.Config().build(("ctr",))
    assert [single.weights(LOSSES_T[:1]).item() for _ in range(3)] == [1, 1, 1]
    assert single.state["log_variances_T"] < 0


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match=r"`kinds` must name tasks among \('ctr',\), got \['buy'\]"):
        Uncertainty.Config(kinds={"buy": "regression"}).build(("ctr",))
    for wrong in ({"kinds": {"ctr": "count"}}, {"max_weight": 0}, {"descent": {"learning_rate": -1}}):
        with pytest.raises(ValidationError):
            Uncertainty.Config.model_validate(wrong)
    assert Uncertainty.Config().descent == DescentConfig()
