"""FAMO against the published algorithm by autograd and torch's Adam, on losses that a model really reaches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ranker.weighting import FAMO

# Shapes: T = 3 tasks

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.tensor([0.2, 0.6, 1.5], dtype=torch.float64)


class Published:
    """Algorithm 1, as its authors' code has it, without the constants that keep it from dividing by zero."""

    def __init__(self, min_losses_T: Tensor, decay: float, rate: float) -> None:
        self.min_losses_T = min_losses_T
        self.xi_T = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        self.adam = torch.optim.Adam([self.xi_T], lr=rate, weight_decay=decay, eps=0.0)

    def loss(self, losses_T: Tensor) -> Tensor:
        z_T, gaps_T = torch.softmax(self.xi_T, -1).detach(), losses_T - self.min_losses_T
        return (gaps_T.log() * z_T / (z_T / gaps_T).sum().detach()).sum()

    def update(self, before_T: Tensor, after_T: Tensor) -> None:
        delta_T = (before_T - self.min_losses_T).log() - (after_T - self.min_losses_T).log()
        (self.xi_T.grad,) = torch.autograd.grad(torch.softmax(self.xi_T, -1), self.xi_T, grad_outputs=delta_T)
        self.adam.step()


def test_equals_the_published_algorithm() -> None:
    """On quadratics of one parameter vector, which both move."""
    min_losses_T, targets_TP = torch.tensor([0.0, 0.05, 0.1], dtype=torch.float64), torch.randn(3, 5).double()
    theirs = Published(min_losses_T, decay=0.01, rate=0.05)
    ours = FAMO.Config.model_validate(
        {"min_losses": {"cvr": 0.05, "watch": 0.1}, "weight_decay": 0.01, "descent": {"learning_rate": 0.05}}
    ).build(TASKS)
    theta_P = torch.zeros(5, dtype=torch.float64, requires_grad=True)

    def losses() -> Tensor:
        return (theta_P - targets_TP).square().sum(1) * torch.tensor([0.1, 1.0, 30.0]) + 0.2

    for _ in range(25):
        before_T = losses()
        (expected_P,) = torch.autograd.grad(theirs.loss(before_T), theta_P, retain_graph=True)
        weights_T = ours.weights(before_T)
        (found_P,) = torch.autograd.grad(weights_T @ before_T, theta_P)
        torch.testing.assert_close(found_P, expected_P, rtol=1e-5, atol=0)
        with torch.no_grad():
            theta_P -= 0.02 * expected_P
        after_T = losses().detach()
        theirs.update(before_T.detach(), after_T)
        ours.after_step(after_T)
        torch.testing.assert_close(ours.state["logits_T"], theirs.xi_T.detach(), rtol=1e-5, atol=1e-7)
    assert ours.state["logits_T"].abs().min() > 0.01


def test_weights_are_a_distribution_that_follows_the_inverse_gaps() -> None:
    weights_T = FAMO.Config().build(TASKS).weights(LOSSES_T)
    torch.testing.assert_close(weights_T, (1 / LOSSES_T) / (1 / LOSSES_T).sum(), rtol=1e-6, atol=0)


def test_who_fell_less_gains_and_equal_rates_move_nothing() -> None:
    method = FAMO.Config(weight_decay=0.0).build(TASKS)
    method.weights(LOSSES_T)
    method.after_step(LOSSES_T * torch.tensor([0.9, 1.1, 0.9]))
    assert method.state["logits_T"].argmax() == 1
    even = FAMO.Config.model_validate({"weight_decay": 0.0, "descent": {"optimizer": "sgd"}}).build(TASKS)
    even.weights(LOSSES_T)
    even.after_step(LOSSES_T * 0.5)
    # Equal rates are the fixed point: J_softmax' of a constant is 0, but for the offset of 1e-8 mean gaps.
    assert even.state["logits_T"].abs().max() <= 1e-7 * even.descent.config.learning_rate * math.log(2)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_the_losses_does_not_matter(scale: float) -> None:
    one, other = (FAMO.Config().build(TASKS) for _ in range(2))
    for step in range(8):
        losses_T, after_T = LOSSES_T / (step + 1), LOSSES_T / (step + 1) * torch.rand(3)
        torch.testing.assert_close(other.weights(scale * losses_T), one.weights(losses_T))
        one.after_step(after_T)
        other.after_step(scale * after_T)
        torch.testing.assert_close(other.state["logits_T"], one.state["logits_T"])


def test_who_takes_no_part_before_or_after_is_frozen() -> None:
    names = ("logits_T", "adam_mean_T", "adam_square_T", "adam_steps_T")
    method = FAMO.Config().build(TASKS)
    method.weights(LOSSES_T)
    method.after_step(0.9 * LOSSES_T * torch.rand(3))
    everyone = torch.ones(3, dtype=torch.bool)
    without = torch.tensor([True, False, True])
    spoilt_T = torch.tensor([0.1, torch.nan, 0.7])
    for at_step_T, before_T, later_T, after_T in (
        (without, LOSSES_T, without, LOSSES_T / 2),
        (everyone, spoilt_T, everyone, LOSSES_T / 3),
        (everyone, LOSSES_T, everyone, spoilt_T),
        (everyone, LOSSES_T, without, LOSSES_T / 2),
    ):
        before = method.state_dict()
        method.weights(before_T, active_T=at_step_T)
        method.after_step(after_T, later_T)
        for name in names:
            assert (method.state[name] != before[name]).tolist() == [True, False, True], name


def test_one_task_alone_or_a_step_that_was_not_taken_moves_nothing() -> None:
    method = FAMO.Config().build(TASKS)
    method.weights(LOSSES_T)
    method.after_step(LOSSES_T * torch.rand(3))
    learnt_T = method.state["logits_T"].clone()
    method.weights(LOSSES_T, active_T=torch.tensor([False, True, False]))
    method.after_step(LOSSES_T / 2, torch.tensor([False, True, False]))
    method.weights(LOSSES_T)  # no `after_step`: the parameters stayed
    method.weights(LOSSES_T, active_T=torch.zeros(3, dtype=torch.bool))
    assert torch.equal(method.state["logits_T"], learnt_T)
    with pytest.raises(ValueError, match=r"`losses_T` must have shape \[3\]"):
        method.after_step(LOSSES_T[:2])


def test_losses_at_or_below_their_lowest_are_no_error() -> None:
    method = FAMO.Config(min_losses=0.3).build(TASKS)
    for before_T, after_T in ((LOSSES_T, LOSSES_T / 3), (torch.zeros(3), torch.zeros(3)), (LOSSES_T / 5, LOSSES_T)):
        weights_T = method.weights(before_T)
        assert weights_T.isfinite().all()
        assert weights_T.sum().item() == pytest.approx(1)
        method.after_step(after_T)
        assert method.state["logits_T"].isfinite().all()


def test_resumed_in_mid_run_it_goes_on_alike() -> None:
    one, other = FAMO.Config().build(TASKS), FAMO.Config().build(TASKS)
    for step in range(10):
        if step == 5:
            other.load_state_dict(one.state_dict())
        losses_T, after_T = torch.rand(3), torch.rand(3)
        weights_T = one.weights(losses_T)
        one.after_step(after_T)
        if step >= 5:
            assert torch.equal(other.weights(losses_T), weights_T)
            other.after_step(after_T)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="`min_losses` must name tasks among"):
        FAMO.Config(min_losses={"buy": 0.1}).build(TASKS)
    with pytest.raises(ValueError, match="min_losses"):
        FAMO.Config(min_losses=math.inf)
