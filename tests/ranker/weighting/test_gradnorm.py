"""GradNorm's gradient by second-order autograd through a real layer, its sums, its pace, its fixed point."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from scipy.special import entr
from torch import Tensor, nn

from ranker.weighting import GradNorm
from ranker.weighting.gradnorm import gradnorm_gradient

# Shapes: T = 3 tasks, P = 6 shared parameters

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.tensor([0.2, 0.6, 1.5], dtype=torch.float64)
NORMS_T = torch.tensor([1.0, 0.2, 4.0], dtype=torch.float64)


def diagonal(norms_T: Tensor) -> Tensor:
    """A Gram matrix of gradients of these norms, whatever their angles."""
    return norms_T.diag().square()


def test_the_gradient_is_that_of_the_published_loss() -> None:
    """Norms with a graph over w, targets held constant, differentiated by autograd."""
    layer, heads = nn.Linear(4, 3, dtype=torch.float64), [nn.Linear(3, 1, dtype=torch.float64) for _ in TASKS]
    shared_BH = torch.tanh(layer(torch.randn(11, 4, dtype=torch.float64)))
    losses_T = torch.stack([(k + 1) * head(shared_BH).square().mean() for k, head in enumerate(heads)])
    initial_T = torch.tensor([0.9, 2.0, 0.5], dtype=torch.float64)
    for alpha in (0.0, 0.5, 1.5):
        weights_T = torch.tensor([0.7, 1.9, 0.4], dtype=torch.float64, requires_grad=True)
        rows = [
            torch.autograd.grad(w * loss, layer.weight, create_graph=True, retain_graph=True)[0].norm()
            for w, loss in zip(weights_T, losses_T, strict=True)
        ]
        norms_T = torch.stack(rows)
        ratios_T = (losses_T / initial_T).detach()
        targets_T = (norms_T.mean() * (ratios_T / ratios_T.mean()) ** alpha).detach()
        (expected_T,) = torch.autograd.grad((norms_T - targets_T).abs().sum(), weights_T)
        unweighted_T = (norms_T / weights_T).detach()
        found_T = gradnorm_gradient(weights_T.detach(), unweighted_T, ratios_T, alpha)
        torch.testing.assert_close(found_T, expected_T)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_steps_as_published(optimizer: str) -> None:
    """A model step uses w before it moves; then descent, the floor, and the rescaling."""
    method = GradNorm.Config.model_validate(
        {"alpha": 0.5, "descent": {"optimizer": optimizer, "learning_rate": 0.3}}
    ).build(TASKS)
    w_T = torch.ones(3, dtype=torch.float64, requires_grad=True)
    theirs: torch.optim.Optimizer = (
        torch.optim.Adam([w_T], lr=0.3, eps=0.0) if optimizer == "adam" else torch.optim.SGD([w_T], lr=0.3)
    )
    first_T = None
    for _ in range(25):
        losses_T, norms_T = LOSSES_T * torch.rand(3), NORMS_T * torch.rand(3)
        first_T = losses_T if first_T is None else first_T
        torch.testing.assert_close(method.weights(losses_T, diagonal(norms_T)), w_T.detach())
        ratios_T = losses_T / first_T
        targets_T = ((w_T * norms_T).mean() * (ratios_T / ratios_T.mean()) ** 0.5).detach()
        theirs.zero_grad()
        (w_T * norms_T - targets_T).abs().sum().backward()
        theirs.step()
        with torch.no_grad():
            w_T.clamp_(min=1e-3)
            w_T.mul_(3 / w_T.sum())


def test_equal_norms_are_the_fixed_point_at_alpha_zero() -> None:
    method = GradNorm.Config.model_validate({"alpha": 0.0, "descent": {"learning_rate": 3e-3}}).build(TASKS)
    for _ in range(700):
        weights_T = method.weights(LOSSES_T, diagonal(NORMS_T))
    expected_T = 3 / NORMS_T / (1 / NORMS_T).sum()
    torch.testing.assert_close(weights_T, expected_T, rtol=0.05, atol=0)  # descent on |.| ends in small swings
    at_rest_T = gradnorm_gradient(torch.ones(3), torch.full((3,), 0.25), torch.rand(3), alpha=0.0)
    assert at_rest_T.tolist() == [0, 0, 0]


def test_the_slow_task_gains() -> None:
    method = GradNorm.Config(alpha=1.0).build(TASKS)
    method.weights(LOSSES_T, torch.eye(3))
    for _ in range(10):
        weights_T = method.weights(LOSSES_T * torch.tensor([0.5, 1.0, 0.5]), torch.eye(3))
    assert weights_T.argmax() == 1
    assert weights_T[1] > 1.1


def test_the_sum_is_the_number_of_tasks() -> None:
    method = GradNorm.Config().build(TASKS)
    for step in range(60):
        active_T = torch.tensor([True, step % 3 > 0, step % 5 > 0])
        weights_T = method.weights(LOSSES_T * torch.rand(3), diagonal(NORMS_T * torch.rand(3)), active_T)
        assert method.state["weights_T"].sum().item() == pytest.approx(3, rel=1e-12)
        assert (weights_T[~active_T] == 0).all()
        assert (weights_T[active_T] > 0).all()


def test_who_takes_no_part_is_frozen_and_counts_in_no_mean() -> None:
    method, pair = GradNorm.Config().build(TASKS), GradNorm.Config().build(("ctr", "watch"))
    kept = torch.tensor([0, 2])
    for step in range(4):
        losses_T, norms_T = LOSSES_T / (step + 1), NORMS_T + step
        losses_T[1] = torch.nan
        found_T = method.weights(losses_T, diagonal(norms_T))
        torch.testing.assert_close(found_T[kept], pair.weights(losses_T[kept], diagonal(norms_T[kept])))
    assert method.state["weights_T"][1] == 1
    assert method.state["first_losses_T"][1] == 0
    assert method.state["adam_steps_T"].tolist() == [4, 0, 4]


def test_one_task_alone_moves_nothing() -> None:
    method = GradNorm.Config().build(TASKS)
    method.weights(LOSSES_T, diagonal(NORMS_T))
    before = method.state_dict()
    lone_T = method.weights(LOSSES_T, diagonal(NORMS_T), torch.tensor([False, False, True]))
    assert lone_T.tolist() == [0, 0, 1]
    assert repr(method.state_dict()) == repr(before)


def test_first_losses_can_be_given() -> None:
    method = GradNorm.Config(initial_losses={"watch": 2.5}, base_rates={"ctr": 0.03}).build(TASKS)
    expected_T = torch.tensor([float(entr(0.03) + entr(0.97)), 0.0, 2.5], dtype=torch.float64)
    torch.testing.assert_close(method.known_T, expected_T)
    other = GradNorm.Config(initial_losses={"watch": 2.5, "ctr": expected_T[0].item(), "cvr": 0.6}).build(TASKS)
    for step in range(3):
        losses_T = LOSSES_T / (step + 1)
        torch.testing.assert_close(
            method.weights(losses_T, diagonal(NORMS_T)), other.weights(losses_T, diagonal(NORMS_T))
        )


def test_weights_hold_where_gradients_cancel_out() -> None:
    """They are of whole losses, heads included: unlike a direction they do not vanish."""
    gradients_TP = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    method = GradNorm.Config().build(TASKS[:2])
    assert method.weights(LOSSES_T[:2], gradients_TP @ gradients_TP.T).tolist() == [1, 1]


def test_losses_of_zero_are_no_error() -> None:
    method = GradNorm.Config().build(TASKS)
    for losses_T in (torch.zeros(3), LOSSES_T, torch.zeros(3), LOSSES_T):
        weights_T = method.weights(losses_T, diagonal(NORMS_T))
    assert weights_T.isfinite().all()
    assert method.state["first_losses_T"].tolist() == LOSSES_T.tolist()


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError, match=r"`base_rates` must not name tasks that `initial_losses` names"):
        GradNorm.Config(initial_losses={"ctr": 0.3}, base_rates={"ctr": 0.1})
    for wrong in ({"base_rates": {"ctr": 1.0}}, {"initial_losses": {"ctr": 0.0}}, {"alpha": -1}, {"scale": "norm"}):
        with pytest.raises(ValidationError):
            GradNorm.Config.model_validate(wrong)
    for named in ({"base_rates": {"buy": 0.1}}, {"initial_losses": {"buy": 0.1}}):
        with pytest.raises(ValueError, match=rf"`{next(iter(named))}` must name tasks among"):
            GradNorm.Config.model_validate(named).build(TASKS)
