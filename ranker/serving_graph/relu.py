"""ReLU: done once over a whole product, as part of it where torch can, and else over its memory."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, fx
from torch.nn import functional as F

from ranker.onednn import linear_relu
from ranker.serving_graph.across import linear_across
from ranker.serving_graph.bfloat16 import LOW
from ranker.serving_graph.mixture import mix, mix_for_compilers, mix_low
from ranker.serving_graph.split import split_linear
from ranker.serving_graph.trace import ATEN

# Shapes: L = item rows, X = 1 (one request) or L, V = columns of the item's side, O = a layer's outputs

_PRODUCTS = {ATEN.linear.default, ATEN.baddbmm.default, split_linear}
_VIEWS = {
    *(ATEN.unflatten.int, ATEN.flatten.using_ints, ATEN.transpose.int, ATEN.slice.Tensor, ATEN.select.int),
    *(ATEN.unbind.int, ATEN.chunk.default, ATEN.split.Tensor, ATEN.unsqueeze.default, operator.getitem),
}


def split_linear_relu(item_LV: Tensor, weight_OV: Tensor, request_XO: Tensor) -> Tensor:
    """ReLU of `split_linear`, [L, O]."""
    if request_XO.size(0) == 1:
        return linear_relu(item_LV, weight_OV, request_XO[0])
    return (F.linear(item_LV, weight_OV) + request_XO).relu_()


_FUSED = {ATEN.linear.default: linear_relu, split_linear: split_linear_relu}
_UNFUSED = {linear_relu: ATEN.linear, split_linear_relu: split_linear}


def activate_whole(network: fx.GraphModule) -> None:
    """Let ReLU follow the product itself where it follows every part of it."""
    graph = network.graph
    for product in list(graph.nodes):
        if product.target not in _PRODUCTS:
            continue
        readers = list(_readers(product))
        if not readers or any(reader.target is not ATEN.relu.default for reader in readers):
            continue
        with graph.inserting_after(product):
            whole = graph.call_function(ATEN.relu.default)
        product.replace_all_uses_with(whole)
        whole.args, whole.meta = (product,), dict(product.meta)
        for reader in readers:
            reader.replace_all_uses_with(reader.all_input_nodes[0])
            graph.erase_node(reader)
    network.recompile()


def fuse(network: fx.GraphModule) -> None:
    """Let bfloat16 products do the ReLU that follows them; those of float32 are as fast without."""
    for node in list(network.graph.nodes):
        product = node.args[0] if node.target is ATEN.relu.default else None
        if not isinstance(product, fx.Node) or product.target not in _FUSED:
            continue
        if len(product.users) == 1 and product.meta.get(LOW):
            product.target = _FUSED[product.target]
            product.args = (*product.args, None)[:3]
            node.replace_all_uses_with(product)
            network.graph.erase_node(node)
    network.recompile()


def activate_in_place(network: fx.GraphModule) -> None:
    """Let ReLU write over the product that it follows: the next layer then finds its input in the cache."""
    for node in network.graph.nodes:
        if node.target is ATEN.relu.default and _owns(node):
            node.target = ATEN.relu_.default
    network.recompile()


def for_compilers(network: fx.GraphModule) -> fx.GraphModule:
    """A copy of the network in which nothing is overwritten or fused: compilers decide themselves, and do it better."""
    copied = copy.deepcopy(network)
    for node in list(copied.graph.nodes):
        if node.target is ATEN.relu_:
            node.target = ATEN.relu
        elif node.target in (mix, mix_low):
            node.target = mix_for_compilers
        elif node.target is linear_across:
            node.target = split_linear
        elif node.target in _UNFUSED:
            node.target = _UNFUSED[node.target]
            with copied.graph.inserting_after(node):
                activation = copied.graph.call_function(ATEN.relu)
            node.replace_all_uses_with(activation)
            activation.args = (node,)
    copied.recompile()
    return copied


def _readers(node: fx.Node) -> Iterator[fx.Node]:
    """What reads a node, through views of it."""
    for user in node.users:
        if user.target in _VIEWS:
            yield from _readers(user)
        else:
            yield user


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
