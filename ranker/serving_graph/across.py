"""Products of few columns, such as logits, computed across: one column after the other, each of them all rows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, fx

from ranker.serving_graph.constants import add_constant, constant, prune
from ranker.serving_graph.split import split_linear
from ranker.serving_graph.trace import ATEN

# Shapes: B = rows, X = 1 or B, I and O = a layer's input and output width

_MAX_COLUMNS = 8  # wider products take as long as row by row


def linear_across(x_BI: Tensor, weight_OI: Tensor, bias_XO: Tensor) -> Tensor:
    """W x + b, [B, O], as a view of [O, B]."""
    return torch.addmm(bias_XO.t(), weight_OI, x_BI.t()).t()


def compute_across(network: fx.GraphModule) -> None:
    """Compute narrow products of float32 across, without the columns that only pad them.

    Row by row they are padded, so that equal rows get equal results (`ranker.layers.linear`), and are slow for their
    size. Who reads one wants single columns, or every gate's softmax along the rows: both are dense now.
    """
    across = {product for node in list(network.graph.nodes) if (product := _replaced(network, node)) is not None}
    for node in list(network.graph.nodes):
        if node.target is ATEN.cat.default and node.args[1:] == (1,) and _columns_of(node.args[0], across):
            _cat_across(network.graph, node, node.args[0])
    prune(network)


def _replaced(network: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The narrow product in the place of one that is padded, if it is that."""
    if node.target not in (ATEN.linear.default, split_linear) or (width := _num_read(node)) > _MAX_COLUMNS:
        return None
    weight_OI = constant(network, node.args[1])
    if weight_OI is None or weight_OI.dtype != torch.float32:
        return None
    read, bias = node.args[0], node.args[2] if len(node.args) > 2 else None
    with network.graph.inserting_before(node):
        if node.target is split_linear:
            bias_XO = network.graph.call_function(ATEN.slice.Tensor, (bias, 1, 0, width))
        else:
            bias_O = constant(network, bias)
            bias_O = weight_OI.new_zeros(width) if bias_O is None else bias_O[:width]
            bias_XO = add_constant(network, bias_O.unsqueeze(0))
        weight = add_constant(network, weight_OI[:width])
        product = network.graph.call_function(linear_across, (read, weight, bias_XO))
    product.meta = dict(node.meta)
    node.replace_all_uses_with(product)
    return product


def _num_read(node: fx.Node) -> int:
    """How many of its first columns are read; very many if somebody reads more than some columns."""
    ends = [reader.args[3] if _is_columns(reader) else sys.maxsize for reader in node.users]
    return max(cast("list[int]", ends), default=sys.maxsize)


def _is_columns(node: fx.Node) -> bool:
    return node.target is ATEN.slice.Tensor and len(node.args) > 3 and bool(node.args[1] == 1)


def _columns_of(parts: Sequence[fx.Node], across: set[fx.Node]) -> bool:
    return all(_is_columns(part) and part.args[0] in across for part in parts)


def _cat_across(graph: fx.Graph, node: fx.Node, parts: Sequence[fx.Node]) -> None:
    """Columns of several such products side by side are rows one below the other."""
    with graph.inserting_before(node):
        rows = [graph.call_function(ATEN.transpose.int, (part, 0, 1)) for part in parts]
        whole = graph.call_function(ATEN.cat.default, (rows, 0))
        columns = graph.call_function(ATEN.transpose.int, (whole, 0, 1))
    node.replace_all_uses_with(columns)
