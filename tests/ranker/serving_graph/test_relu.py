"""ReLU is part of the product that it follows, and compilers get it apart."""

from __future__ import annotations

import pytest
import torch

from ranker.models import PLE, MMoE, NetworkConfig
from ranker.onednn import linear_relu
from ranker.serving_graph import Served, for_compilers, serve
from ranker.serving_graph.relu import split_linear_relu
from ranker.serving_graph.trace import ATEN

FUSED = (linear_relu, split_linear_relu)
ACTIVATIONS = {ATEN.relu, ATEN.relu_}


def served(config: NetworkConfig) -> Served:
    """An architecture of 11 columns in bfloat16."""
    return serve(config.build(11, ("ctr", "cvr")).eval(), [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9], "bf16")


@pytest.mark.parametrize(
    ("config", "products"),
    [
        (MMoE.Config(num_experts=3, expert_dims=(24, 9)), 3 * 2 + 1),  # experts of two layers, both towers at once
        (PLE.Config(expert_dims=((24,), (9,))), 1 + 3 + 1),  # all experts at once, those of each gate, both towers
    ],
    ids=["mmoe", "ple"],
)
def test_every_relu_after_a_large_product_is_part_of_it(config: NetworkConfig, products: int) -> None:
    targets = [node.target for node in served(config).network.graph.nodes]
    assert ACTIVATIONS.isdisjoint(targets)
    assert len([target for target in targets if target in FUSED]) == products


def test_compilers_get_products_and_relu() -> None:
    found = served(MMoE.Config(num_experts=3, expert_dims=(24, 9)))
    plain = for_compilers(found.network)
    targets = [node.target for node in plain.graph.nodes]
    assert not [target for target in targets if target in FUSED]
    assert targets.count(ATEN.relu) == 3 * 2 + 1  # experts of two layers, both towers at once
    item_KV, request_XP = torch.randn(64, 7), found.request_products(torch.randn(1, 4))
    with torch.inference_mode():
        for output_K, expected_K in zip(plain(item_KV, request_XP), found.network(item_KV, request_XP), strict=True):
            torch.testing.assert_close(output_K, expected_K, rtol=0, atol=1e-2)
