"""A graph in another order computes the same, each node right before what reads it."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from ranker.serving_graph.order import order


def crossed(first_B: Tensor, second_B: Tensor) -> tuple[Tensor, Tensor]:
    """Two chains, computed step by step beside each other."""
    a_B, b_B = first_B + 1, second_B + 2
    a_B, b_B = a_B * 3, b_B * 4
    return a_B - first_B, b_B


def test_chains_follow_each_other() -> None:
    graph = fx.symbolic_trace(crossed)
    order(graph)
    graph.recompile()
    names = [node.name for node in graph.graph.nodes]
    assert names == ["first_b", "second_b", "add", "mul", "sub", "add_1", "mul_1", "output"]
    first_B, second_B = torch.randn(5), torch.randn(5)
    for found_B, expected_B in zip(graph(first_B, second_B), crossed(first_B, second_B), strict=True):
        assert torch.equal(found_B, expected_B)
