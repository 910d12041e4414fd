"""Softmax over few experts, computed along the rows."""

from __future__ import annotations

from torch import fx

from ranker.serving_graph.trace import ATEN

# Shapes: B = rows, E = experts


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
