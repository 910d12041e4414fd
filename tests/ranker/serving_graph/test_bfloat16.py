"""What bfloat16 products read is cast once."""

from __future__ import annotations

import torch

from ranker.models import MMoE
from ranker.serving_graph import serve
from ranker.serving_graph.relu import split_linear_relu
from ranker.serving_graph.trace import ATEN

REQUEST, ITEM = [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9]


def test_both_sides_are_cast_once_for_all_experts() -> None:
    architecture = MMoE.Config(num_experts=3, expert_dims=(24, 9)).build(11, ("ctr", "cvr")).eval()
    nodes = serve(architecture, REQUEST, ITEM, "bf16").network.graph.nodes
    assert sum(node.target is split_linear_relu for node in nodes) == 3
    casts = [node for node in nodes if node.target is ATEN.to and node.args[1] == torch.bfloat16]
    assert sorted(node.args[0].op for node in casts) == ["placeholder", "placeholder"]
