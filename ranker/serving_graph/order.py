"""The order of a graph's nodes: each right before what reads it, while it is in the cache."""

from __future__ import annotations

from torch import fx


def order(network: fx.GraphModule) -> None:
    """Compute every node as late as it can be, inputs in the order in which they are read."""
    found = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    (output,) = (node for node in network.graph.nodes if node.op == "output")
    pending = [output, *reversed([node for node in network.graph.nodes if node.op == "placeholder"])]
    while pending:
        node = pending[-1]
        if missing := [read for read in node.all_input_nodes if read not in copies]:
            pending += reversed(missing)
            continue
        pending.pop()
        if node not in copies:
            copies[node] = found.node_copy(node, copies.__getitem__)
    network.graph = found
