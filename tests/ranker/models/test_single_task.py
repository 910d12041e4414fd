"""Single-task networks share nothing."""

from __future__ import annotations

import torch

from ranker.models import SingleTask, reached_by


def test_no_parameter_is_shared() -> None:
    model = SingleTask.Config(bottom_dims=(4, 3)).build(5, ("ctr", "cvr", "watch"))
    for parameter, tasks in reached_by(model, torch.randn(7, 5)).items():
        assert len(tasks) == 1
        assert f"task_{tasks[0]}." in parameter


def test_training_one_task_leaves_the_others_as_they_are() -> None:
    model, x_BD = SingleTask.Config(bottom_dims=(4, 3)).build(5, ("ctr", "cvr")), torch.randn(7, 5)
    before = {task: logits_B.detach() for task, logits_B in model(x_BD).items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x_BD)["ctr"].sum().backward()
    optimizer.step()
    after = model(x_BD)
    assert torch.equal(after["cvr"], before["cvr"])
    assert not torch.allclose(after["ctr"], before["ctr"])
