"""Random weights that are the same wherever and whenever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from ranker.weighting import RLW

# Shapes: S = steps, T = 3 tasks

TASKS = ("ctr", "cvr", "watch")
LOSSES_T = torch.tensor([0.2, 0.6, 1.5])


def draw(method: RLW, num_steps: int) -> Tensor:
    """Weights [S, T] of some steps."""
    return torch.stack([method.weights(LOSSES_T) for _ in range(num_steps)])


def test_weights_are_a_softmax_of_normal_draws() -> None:
    """Then log w_i - log w_j is normal with variance 2, and independent from step to step."""
    weights_ST = draw(RLW.Config().build(TASKS), 1500)
    torch.testing.assert_close(weights_ST.sum(1), torch.ones(1500, dtype=torch.float64))
    logs = weights_ST.log()
    for i, j in ((0, 1), (1, 2), (0, 2)):
        differences_S = (logs[:, i] - logs[:, j]).numpy()
        assert kstest(differences_S, "norm", args=(0, np.sqrt(2))).pvalue > 0.01
        assert abs(np.corrcoef(differences_S[1:], differences_S[:-1])[0, 1]) < 0.08


def test_the_seed_decides() -> None:
    one = draw(RLW.Config(seed=3).build(TASKS), 5)
    torch.manual_seed(17)
    torch.rand(9)
    assert torch.equal(draw(RLW.Config(seed=3).build(TASKS), 5), one)
    assert not torch.equal(draw(RLW.Config(seed=4).build(TASKS), 5), one)
    assert len(one.unique()) == 15


def test_it_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    draw(RLW.Config().build(TASKS), 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_resumed_in_mid_run_it_goes_on_alike() -> None:
    one, other = RLW.Config().build(TASKS), RLW.Config().build(TASKS)
    draw(one, 4)
    other.load_state_dict(one.state_dict())
    assert torch.equal(draw(other, 4), draw(one, 4))


def test_who_sits_out_leaves_the_proportions_of_the_others() -> None:
    """And steps in which nobody takes part do not count."""
    one, other = RLW.Config().build(TASKS), RLW.Config().build(TASKS)
    other.weights(LOSSES_T, active_T=torch.zeros(3, dtype=torch.bool))
    for _ in range(4):
        all_T = one.weights(LOSSES_T)
        some_T = other.weights(LOSSES_T, active_T=torch.tensor([True, False, True]))
        torch.testing.assert_close(some_T[2] / some_T[0], all_T[2] / all_T[0])
        assert some_T.sum().item() == pytest.approx(1)
