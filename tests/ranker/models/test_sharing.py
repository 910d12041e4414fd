"""Autograd tells which tasks reach a parameter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ranker.models import reached_by


class Example(nn.Module):
    """`both` serves both tasks, `one` the first, `none` no task."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.one, self.none = nn.Linear(5, 3), nn.Linear(3, 1), nn.Linear(3, 1)

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Two logits per row."""
        hidden_BH = self.both(x_BD)
        return {"ctr": self.one(hidden_BH)[:, 0], "cvr": hidden_BH.sum(dim=1)}


def test_tasks_that_reach_each_parameter() -> None:
    with torch.no_grad():  # even where gradients are off
        reached = reached_by(Example(), torch.randn(7, 5))
    assert reached["both.weight"] == ("ctr", "cvr")
    assert reached["one.bias"] == ("ctr",)
    assert reached["none.weight"] == ()
