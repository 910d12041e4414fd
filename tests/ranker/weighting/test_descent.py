"""Adam and plain descent on numbers of which a step may move only some."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ranker.weighting.descent import Descent, DescentConfig

# Shapes: T = 3 numbers, S = steps

ALL = torch.arange(3)


def run(descent: Descent, gradients_ST: Tensor) -> Tensor:
    """Where the numbers are after each step, [S, T], from 0."""
    state, values_T, path = descent.initial_state(), torch.zeros(3, dtype=torch.float64), []
    for gradient_T in gradients_ST:
        values_T = values_T + descent.change(state, ALL, gradient_T)
        path.append(values_T)
    return torch.stack(path)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_equals_torch(optimizer: str) -> None:
    gradients_ST = torch.randn(40, 3, dtype=torch.float64)
    config = DescentConfig.model_validate({"optimizer": optimizer, "learning_rate": 0.07})
    values_T = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    theirs: torch.optim.Optimizer = (
        torch.optim.Adam([values_T], lr=0.07, eps=0.0) if optimizer == "adam" else torch.optim.SGD([values_T], lr=0.07)
    )
    for gradient_T, found_T in zip(gradients_ST, run(Descent(config, 3), gradients_ST), strict=True):
        values_T.grad = gradient_T
        theirs.step()
        torch.testing.assert_close(found_T, values_T.detach())


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_adam_does_not_see_the_scale(scale: float) -> None:
    gradients_ST, descent = torch.randn(20, 3, dtype=torch.float64), Descent(DescentConfig(), 3)
    torch.testing.assert_close(run(descent, scale * gradients_ST), run(descent, gradients_ST))


def test_a_gradient_that_was_always_zero_moves_nothing() -> None:
    gradients_ST = torch.randn(5, 3, dtype=torch.float64)
    gradients_ST[:, 1] = 0
    path_ST = run(Descent(DescentConfig(), 3), gradients_ST)
    assert path_ST[:, 1].tolist() == [0] * 5
    assert path_ST[:, [0, 2]].all()


def test_who_sits_out_is_as_if_the_step_had_not_been() -> None:
    """Bias correction included: a number's own steps count, not those of the others."""
    descent = Descent(DescentConfig(), 3)
    gradients_ST = torch.randn(6, 3, dtype=torch.float64)
    state, values_T = descent.initial_state(), torch.zeros(3, dtype=torch.float64)
    for step, gradient_T in enumerate(gradients_ST):
        tasks_K = ALL if step % 2 == 0 else torch.tensor([0, 2])
        values_T = values_T.index_add(0, tasks_K, descent.change(state, tasks_K, gradient_T[tasks_K]))
    torch.testing.assert_close(values_T[1], run(descent, gradients_ST[::2])[-1, 1])
    torch.testing.assert_close(values_T[[0, 2]], run(descent, gradients_ST)[-1, [0, 2]])
