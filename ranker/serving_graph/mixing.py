"""Mixing experts by gates: softmax over few experts, and sums over groups of them."""

from __future__ import annotations

from itertools import accumulate
from typing import cast

from torch import fx

from ranker.serving_graph.constants import prune
from ranker.serving_graph.trace import ATEN, FULL_PRECISION

# Shapes: B = rows, E = experts, H = width of an expert's output

_PLAIN_LOOP = 400  # numbers in a matrix of a batch below which torch's `bmm` is ten times slower


def mix_along_rows(network: fx.GraphModule) -> None:
    """Compute every softmax of [B, E] on its transpose: processors take many rows at a time, not a few experts."""
    graph = network.graph
    for node in list(graph.nodes):
        if node.target is not ATEN.softmax.int or node.meta["val"].dim() != 2 or node.args[1] not in (-1, 1):
            continue
        with graph.inserting_before(node):
            across = graph.call_function(ATEN.transpose.int, (node.args[0], 0, 1))
            dense_EB = graph.call_function(ATEN.contiguous.default, (across,))
            shares_EB = graph.call_function(ATEN.softmax.int, (dense_EB, 0))
            back = graph.call_function(ATEN.transpose.int, (shares_EB, 0, 1))
            shares_BE = graph.call_function(ATEN.contiguous.default, (back,))  # a batched product wants it dense
        for new in (across, dense_EB, shares_EB, back, shares_BE):
            new.meta = dict(node.meta)
        node.replace_all_uses_with(shares_BE)
        graph.erase_node(node)
    network.recompile()


def mix_group_by_group(network: fx.GraphModule) -> None:
    """Mix groups of experts where they are, and add up: no copy puts all experts side by side first.

    A product of shares [B, 1, E] and experts [B, E, H] that were put together from groups becomes a sum of products,
    unless some of them would be so small that torch computes them by a plain loop.
    """
    for node in list(network.graph.nodes):
        joined = node.args[1] if node.target is ATEN.bmm.default else None
        if not isinstance(joined, fx.Node) or joined.target is not ATEN.cat.default or joined.args[1:] != (1,):
            continue
        groups = [group for group in cast("list[fx.Node]", joined.args[0]) if group.meta["val"].shape[1] > 0]
        if len(groups) == 1 or all(group.meta["val"][0].numel() >= _PLAIN_LOOP for group in groups):
            node.replace_all_uses_with(_sum_of_products(network.graph, node, groups))
    prune(network)


def _sum_of_products(graph: fx.Graph, product: fx.Node, groups: list[fx.Node]) -> fx.Node:
    ends = list(accumulate(group.meta["val"].shape[1] for group in groups))
    mixed: fx.Node | None = None
    with graph.inserting_before(product):
        for start, end, group in zip([0, *ends], ends, groups, strict=False):
            shares = graph.call_function(ATEN.slice.Tensor, (product.args[0], 2, start, end))
            if mixed is None:
                mixed = graph.call_function(ATEN.bmm.default, (shares, group))
            else:
                mixed = graph.call_function(ATEN.baddbmm.default, (mixed, shares, group))
            mixed.meta = {**product.meta, FULL_PRECISION: True}
    assert mixed is not None
    return mixed
