"""Experts computed together are the experts computed one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ranker.layers import ExpertLinear, Experts, NoExperts

# Shapes: B = 7 rows, D = 5 inputs, E = 3 experts, H = output width


def one_by_one(experts: Experts, x_BD: Tensor) -> Tensor:
    """Each expert as an ordinary MLP with its slice of the parameters."""
    outputs = []
    for e in range(experts.num_experts):
        width = experts.first.out_features // experts.num_experts
        rows = slice(e * width, (e + 1) * width)
        hidden = torch.relu(F.linear(x_BD, experts.first.weight[rows], experts.first.bias[rows]))
        for layer in experts.deeper:
            assert isinstance(layer, ExpertLinear)
            hidden = torch.relu(hidden @ layer.weight_EIO[e] + layer.bias_E1O[e])
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


@pytest.mark.parametrize("hidden_dims", [(4,), (4, 2), (4, 6, 2)])
@pytest.mark.parametrize("num_rows", [0, 1, 7])
def test_the_wide_product_equals_separate_networks(hidden_dims: tuple[int, ...], num_rows: int) -> None:
    experts, x_BD = Experts(3, 5, hidden_dims), torch.randn(num_rows, 5)
    experts_BEH = experts(x_BD)
    assert experts_BEH.shape == (num_rows, 3, hidden_dims[-1])
    torch.testing.assert_close(experts_BEH, one_by_one(experts, x_BD))


def test_every_expert_starts_as_a_linear_layer_would() -> None:
    """Uniform within 1 / sqrt(fan in), where the fan in is one expert's, not that of all."""
    experts = Experts(6, 400, (100, 50))
    (deeper,) = experts.deeper
    assert isinstance(deeper, ExpertLinear)
    for parameter, fan_in in ((experts.first.weight, 400), (deeper.weight_EIO, 100), (deeper.bias_E1O, 100)):
        assert parameter.abs().max() <= fan_in**-0.5
        assert parameter.abs().max() > 0.9 * fan_in**-0.5
        assert parameter.std().item() == pytest.approx((3 * fan_in) ** -0.5, rel=0.1)


def test_experts_differ_from_the_start() -> None:
    experts_BEH = Experts(3, 5, (4, 2), activation="tanh")(torch.randn(7, 5))
    assert not torch.allclose(experts_BEH[:, 0], experts_BEH[:, 1])
    assert not torch.allclose(experts_BEH[:, 1], experts_BEH[:, 2])


def test_dropout_acts_on_every_layer() -> None:
    experts, x_BD = Experts(3, 5, (64, 64), activation="tanh", dropout=0.5), torch.randn(7, 5)
    dropped_BEH = experts(x_BD) == 0
    assert 0.3 < dropped_BEH.float().mean() < 0.7
    assert not (experts.eval()(x_BD) == 0).any()


def test_no_experts_is_an_empty_group() -> None:
    assert NoExperts(4)(torch.randn(7, 5)).shape == (7, 0, 4)
