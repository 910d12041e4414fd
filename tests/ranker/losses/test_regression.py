"""Squared error, without the half."""

from __future__ import annotations

import torch

from ranker.losses import regression_loss


def test_it_is_the_squared_difference() -> None:
    predictions_B = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    losses_B = regression_loss(predictions_B, torch.tensor([4.0, -2.0, 0.0]))
    losses_B.sum().backward()
    torch.testing.assert_close(losses_B, torch.tensor([9.0, 0.0, 0.25]))
    torch.testing.assert_close(predictions_B.grad, torch.tensor([-6.0, 0.0, 1.0]))
