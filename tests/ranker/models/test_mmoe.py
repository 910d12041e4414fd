"""What makes MMoE MMoE."""

from __future__ import annotations

import torch
from torch import nn

from ranker.layers import ExpertLinear, Gate
from ranker.models import MMoE, SharedBottom, reached_by


def test_one_expert_is_shared_bottom() -> None:
    """Same function once the parameters are the same: the gate over one expert is constantly 1."""
    mmoe = MMoE.Config(num_experts=1, expert_dims=(4, 3), tower_dims=(6,)).build(5, ("ctr", "cvr"))
    shared_bottom = SharedBottom.Config(bottom_dims=(4, 3), tower_dims=(6,)).build(5, ("ctr", "cvr"))
    first, second = (layer for layer in shared_bottom.bottom.layers if isinstance(layer, nn.Linear))
    (deeper,) = mmoe.experts.deeper
    assert isinstance(deeper, ExpertLinear)
    first.load_state_dict(mmoe.experts.first.state_dict())
    second.load_state_dict({"weight": deeper.weight_EIO[0].T, "bias": deeper.bias_E1O[0, 0]})
    shared_bottom.towers.load_state_dict(mmoe.towers.state_dict())
    x_BD = torch.randn(7, 5)
    torch.testing.assert_close(mmoe(x_BD), shared_bottom(x_BD))


def test_equation_of_the_paper() -> None:
    model, x_BD = MMoE.Config(num_experts=3, expert_dims=(4, 6)).build(5, ("ctr", "cvr")), torch.randn(7, 5)
    experts_BEH = model.experts(x_BD)
    for task, gate, tower in zip(("ctr", "cvr"), model.gates.values(), model.towers.values(), strict=True):
        assert isinstance(gate, Gate)
        gate_BE = torch.softmax(x_BD @ gate.linear.weight.T, dim=1)
        torch.testing.assert_close(gate_BE.sum(dim=1), torch.ones(7))
        mixed_BH = sum(gate_BE[:, e, None] * experts_BEH[:, e] for e in range(3))
        torch.testing.assert_close(model(x_BD)[task], tower(mixed_BH))


def test_experts_are_shared_and_gates_and_towers_are_not() -> None:
    model = MMoE.Config(num_experts=3, expert_dims=(4, 6)).build(5, ("ctr", "cvr"))
    for parameter, tasks in reached_by(model, torch.randn(7, 5)).items():
        assert tasks == (("ctr", "cvr") if parameter.startswith("experts.") else (parameter.split(".")[1][5:],))


def test_each_task_has_a_gate_of_its_own() -> None:
    model, x_BD = MMoE.Config(num_experts=3, expert_dims=(4,)).build(5, ("ctr", "cvr")), torch.randn(7, 5)
    before = model(x_BD)
    nn.init.normal_(model.get_parameter("gates.task_ctr.linear.weight"))
    after = model(x_BD)
    assert not torch.allclose(after["ctr"], before["ctr"])
    assert torch.equal(after["cvr"], before["cvr"])
