"""Small layers side by side become one, and give what they gave."""

from __future__ import annotations

import pytest
import torch

from ranker.models import MMoE
from ranker.onednn import linear_relu
from ranker.serving_graph import serve
from ranker.serving_graph.across import linear_across
from ranker.serving_graph.trace import ATEN

# Shapes: B = 64 rows, D = 11 columns

REQUEST, ITEM = [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9]


def layers(tasks: tuple[str, ...], tower: tuple[int, ...], expert: int) -> int:
    """Layers behind the mixture of an MMoE in bfloat16; its outputs are compared with training's on the way."""
    config = MMoE.Config(num_experts=2, expert_dims=(expert,), tower_dims=tower)
    architecture = config.build(len(REQUEST) + len(ITEM), tasks).eval()
    found = serve(architecture, REQUEST, ITEM, "bf16")
    x_BD = torch.randn(64, 11)
    x_BD[:, REQUEST] = x_BD[:1, REQUEST]
    with torch.inference_mode():
        outputs = found.network(x_BD[:, ITEM], found.request_products(x_BD[:1, REQUEST]))
        for output_B, expected_B in zip(outputs, architecture(x_BD).values(), strict=True):
            torch.testing.assert_close(output_B, expected_B, rtol=0, atol=2e-2)
    nodes = list(found.network.graph.nodes)
    mixture = max(place for place, node in enumerate(nodes) if "mix" in node.name)
    return sum(node.target in (linear_relu, ATEN.linear, linear_across) for node in nodes[mixture:])


@pytest.mark.parametrize("tower", [(), (20,), (20, 16)])
def test_two_towers_are_one(tower: tuple[int, ...]) -> None:
    assert layers(("ctr", "cvr"), tower, expert=9) == len(tower) + 1


def test_many_towers_are_not_where_most_of_it_would_be_zeros() -> None:
    tasks = ("ctr", "cvr", "like", "share", "dwell")
    assert layers(tasks, (100,), expert=90) == 2 * len(tasks)
