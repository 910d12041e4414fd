"""What several losses reach is shared, what one reaches is its own."""

from __future__ import annotations

import torch

from ranker.losses import TaskObjective
from ranker.models import MMoE
from training.shared_parameters import shared_and_own


def test_experts_are_shared_and_towers_are_not() -> None:
    tasks = ("ctr", "cvr", "like")
    model = MMoE.Config(num_experts=4, expert_dims=(7, 6), expert_norm="batch").build(5, tasks)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    shared, own = shared_and_own(model.train(), TaskObjective(dict.fromkeys(tasks, "binary")), 5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {names[parameter].split(".")[0] for parameter in shared} == {"experts"}
    assert {names[parameter].split(".")[0] for parameter in own} == {"gates", "towers"}
    assert len(shared) + len(own) == len(names)
    assert model.training
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
