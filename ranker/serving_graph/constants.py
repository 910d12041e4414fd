"""Constants of a traced graph: weights, and what follows from weights alone."""

from __future__ import annotations

from torch import Tensor, fx


def constant(network: fx.GraphModule, node: object) -> Tensor | None:
    """The tensor that a node stands for, if it is a constant."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    tensor = getattr(network, str(node.target))
    return tensor if isinstance(tensor, Tensor) else None


def add_constant(network: fx.GraphModule, tensor: Tensor) -> fx.Node:
    """A new constant; its node goes to the graph's insertion point."""
    number = len(list(network.buffers()))
    while hasattr(network, f"constant_{number}"):
        number += 1
    network.register_buffer(f"constant_{number}", tensor.detach().contiguous())
    return network.graph.get_attr(f"constant_{number}")


def fold_constants(network: fx.GraphModule) -> None:
    """Compute now what does not depend on the input."""
    for node in list(network.graph.nodes):
        if node.op != "call_function" or not node.all_input_nodes:
            continue
        if any(constant(network, read) is None for read in node.all_input_nodes):
            continue
        arguments = fx.map_arg(node.args, lambda read: constant(network, read))
        keywords = fx.map_arg(node.kwargs, lambda read: constant(network, read))
        value = node.target(*arguments, **keywords)
        if isinstance(value, Tensor):
            with network.graph.inserting_before(node):
                node.replace_all_uses_with(add_constant(network, value))
    prune(network)


def prune(network: fx.GraphModule) -> None:
    """Drop nodes and constants that no output needs."""
    network.graph.eliminate_dead_code()
    read = {str(node.target) for node in network.graph.nodes if node.op == "get_attr"}
    for name, _ in list(network.named_buffers()):
        if name not in read:
            delattr(network, name)
    network.recompile()
