"""Activations that overwrite what nobody else reads."""

from __future__ import annotations

import copy
from itertools import pairwise

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


def for_compilers(network: fx.GraphModule) -> fx.GraphModule:
    """A copy of the network in which nothing is overwritten: compilers decide themselves, and do it better."""
    copied = copy.deepcopy(network)
    for node in copied.graph.nodes:
        if node.target is ATEN.relu_:
            node.target = ATEN.relu
    copied.recompile()
    return copied


def _owns(activation: fx.Node) -> bool:
    """Whether an activation alone reads its part of a product."""
    read = activation.args[0]
    while isinstance(read, fx.Node) and len(read.users) == 1 and read.target in _VIEWS:
        read = read.args[0]
    if not isinstance(read, fx.Node) or read.target not in _PRODUCTS:
        return False
    return len(read.users) == 1 or _apart(list(read.users))


def _apart(readers: list[fx.Node]) -> bool:
    """Whether all readers are slices of columns that do not overlap."""
    if any(reader.target is not ATEN.slice.Tensor or reader.args[1] != 1 for reader in readers):
        return False
    columns = sorted(reader.args[2:4] for reader in readers)
    return all(before[1] <= after[0] for before, after in pairwise(columns))  # type: ignore[operator]
