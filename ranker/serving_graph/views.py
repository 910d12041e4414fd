"""Products that read a part of the representation, rewritten as products that read it whole."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

from ranker.serving_graph.constants import add_constant, constant, prune
from ranker.serving_graph.trace import ATEN

# Shapes: D = width of the representation, I and O = a product's input and output width

# With constants in place of all operands but the representation these are linear in it, row by row.
_VIEWS = {
    ATEN.unflatten.int,
    ATEN.flatten.using_ints,
    ATEN.unbind.int,
    ATEN.chunk.default,
    ATEN.split.Tensor,
    ATEN.select.int,
    ATEN.slice.Tensor,
    ATEN.unsqueeze.default,
    ATEN.squeeze.dim,
    operator.getitem,
}


def read_whole(network: fx.GraphModule) -> None:
    """Let every product whose input is linear in `x_BD` read `x_BD` itself.

    Masks of columns, sets of embeddings side by side, their sums, and products without bias (alignments) are such
    inputs: y = W (P x) = (W P) x, with P found by running what lies between on the identity.
    """
    x_BD = next(node for node in network.graph.nodes if node.op == "placeholder")
    images: dict[fx.Node, Any] = {x_BD: torch.eye(x_BD.meta["val"].shape[1], dtype=torch.float64)}  # P as rows, by node
    for node in list(network.graph.nodes):
        read = node.args[0] if node.args else None
        if node.op != "call_function" or not isinstance(read, fx.Node) or not _any_read(node, images):
            continue
        if node.target is ATEN.linear.default and read in images and read is not x_BD:
            _fold(network, node, images[read], x_BD)
        if _is_linear(network, node, images):
            arguments = fx.map_arg(node.args, lambda arg: images[arg] if arg in images else _exact(network, arg))
            images[node] = node.target(*arguments, **node.kwargs)
    prune(network)


def _any_read(node: fx.Node, images: dict[fx.Node, Any]) -> bool:
    return any(read in images for read in node.all_input_nodes)


def _exact(network: fx.GraphModule, node: fx.Node) -> Tensor:
    tensor = constant(network, node)
    assert tensor is not None
    return tensor.double()


def _is_linear(network: fx.GraphModule, node: fx.Node, images: dict[fx.Node, Any]) -> bool:
    """Whether the node is linear in the representation, and never mixes rows."""
    linear = [read in images for read in node.all_input_nodes]
    known = all(read in images or constant(network, read) is not None for read in node.all_input_nodes)
    if not known or any(not isinstance(arg, fx.Node) and isinstance(arg, torch.SymInt) for arg in node.args):
        return False
    if node.target in _VIEWS:
        # Along the rows nothing may be taken: dimension 0 is the identity's.
        return node.target is operator.getitem or (len(node.args) > 1 and node.args[1] not in (0, None))
    if node.target in (ATEN.add.Tensor, ATEN.sub.Tensor):
        return all(linear) and len(node.args) == 2 and all(isinstance(arg, fx.Node) for arg in node.args)
    if node.target is ATEN.mul.Tensor:
        factors = [arg for arg in node.args if arg not in images]
        return len(factors) == 1 and _same_in_every_row(network, factors[0])
    if node.target is ATEN.linear.default:
        return linear[0] and len(node.args) == 2
    return False


def _same_in_every_row(network: fx.GraphModule, factor: object) -> bool:
    """Whether a factor by element is a plain number, or one per column."""
    tensor = constant(network, factor)
    return isinstance(factor, int | float) if tensor is None else tensor.dim() <= 1


def _fold(network: fx.GraphModule, linear: fx.Node, image_DI: Tensor, x_BD: fx.Node) -> None:
    weight_OI = constant(network, linear.args[1])
    if weight_OI is None or image_DI.dim() != 2:
        return
    with network.graph.inserting_before(linear):
        weight = add_constant(network, (weight_OI.double() @ image_DI.T).to(weight_OI.dtype))
    linear.args = (x_BD, weight, *linear.args[2:])
