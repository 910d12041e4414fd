"""Activations that overwrite what nobody else reads."""

from __future__ import annotations

from torch import fx

from ranker.serving_graph.split import split_linear
from ranker.serving_graph.trace import ATEN

_PRODUCTS = {ATEN.linear.default, ATEN.baddbmm.default, split_linear}
_VIEWS = {ATEN.unflatten.int, ATEN.transpose.int, ATEN.slice.Tensor}


def activate_in_place(network: fx.GraphModule) -> None:
    """Let ReLU write over the product that it follows: the next layer then finds its input in the cache."""
    for node in network.graph.nodes:
        if node.target is ATEN.relu.default and _owns(node):
            node.target = ATEN.relu_.default
    network.recompile()


def _owns(activation: fx.Node) -> bool:
    """Whether an activation alone reads its part of a product; parts of a wide one do not overlap."""
    read = activation.args[0]
    while isinstance(read, fx.Node) and len(read.users) == 1 and read.target in _VIEWS:
        read = read.args[0]
    if not isinstance(read, fx.Node) or read.target not in _PRODUCTS:
        return False
    return len(read.users) == 1 or all(user.target is ATEN.slice.Tensor for user in read.users)
