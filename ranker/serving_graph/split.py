"""The request's share of every product, computed once per request, apart from the items' share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from ranker.serving_graph.constants import add_constant, prune
from ranker.serving_graph.trace import ATEN, FULL_PRECISION
from ranker.serving_graph.wide import products

# Shapes: L = item rows, R = requests, X = 1 (one request) or L (each row's own), D = width of the representation
# U and V = columns of the request's and of the item's side, P = request products of all layers, O = a layer's outputs

ITEM, REQUEST = "item_LV", "request_XP"  # what the graph reads once it is split

_BLOCK = 32  # columns that matrix units take at a time


def split_linear(item_LV: Tensor, weight_OV: Tensor, request_XO: Tensor) -> Tensor:
    """The items' share of a layer on top of the request's, [L, O]."""
    if request_XO.size(0) == 1:
        return F.linear(item_LV, weight_OV, request_XO[0])
    return F.linear(item_LV, weight_OV) + request_XO


@dataclass(slots=True)
class Share:
    """What the request contributes to all layers that read the representation: W_PU u + b_P.

    Attributes:
        weights: Rows of W, by layer.
        biases: Parts of b, by layer.
    """

    weights: list[Tensor] = field(default_factory=list)
    biases: list[Tensor] = field(default_factory=list)

    def add(self, weight_OU: Tensor, bias_O: Tensor) -> slice:
        """Add a layer; gives its columns among all P."""
        start = sum(map(len, self.biases))
        self.weights.append(weight_OU)
        self.biases.append(bias_O)
        return slice(start, start + len(bias_O))


def split(
    network: fx.GraphModule, request_columns: Sequence[int], item_columns: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Let the graph read the item's side alone, and the request's products in place of its side.

    Afterwards the graph maps `item_LV` and `request_XP` to the outputs: exact, since W x + b = W_v v + (W_u u + b).

    Args:
        network: Traced; reads `x_BD`.
        request_columns: Column of the representation that each column of the request's side is.
        item_columns: The same of the item's side; -1: padding, of zeros.

    Returns:
        W [P, U] and b [P] of the request's products.
    """
    graph = network.graph
    x_BD = next(node for node in graph.nodes if node.op == "placeholder")
    with graph.inserting_before(x_BD):
        item_LV, request_XP = graph.placeholder(ITEM), graph.placeholder(REQUEST)
    share = Share()
    for product in products(network):
        if product.input is not x_BD:
            continue
        columns = share.add(product.weight_OI[:, list(request_columns)], product.bias_O)
        weight_OV = _taken(product.weight_OI, item_columns)
        with graph.inserting_before(product.node):
            bias_XO = graph.call_function(ATEN.slice.Tensor, (request_XP, 1, columns.start, columns.stop))
            hull = _hull(weight_OV)
            read = item_LV
            if hull.stop - hull.start < len(item_columns):
                read = graph.call_function(ATEN.slice.Tensor, (item_LV, 1, hull.start, hull.stop))
            weight = add_constant(network, weight_OV[:, hull])
            own = graph.call_function(split_linear, (read, weight, bias_XO))
        own.meta = {**product.node.meta, FULL_PRECISION: product.full_precision}
        product.node.replace_all_uses_with(own)
    graph.eliminate_dead_code()
    for user in list(x_BD.users):
        if user.target is ATEN.sym_size.int and user.args[1] == 0:
            user.replace_input_with(x_BD, item_LV)
    if x_BD.users:
        columns = share.add(torch.eye(len(request_columns)), torch.zeros(len(request_columns)))
        with graph.inserting_after(request_XP):
            own_XU = graph.call_function(ATEN.slice.Tensor, (request_XP, 1, columns.start, columns.stop))
        x_BD.replace_all_uses_with(_whole(network, own_XU, item_LV, [*request_columns, *item_columns]))
    graph.erase_node(x_BD)
    prune(network)
    width = len(request_columns)
    return torch.cat([torch.empty(0, width), *share.weights]), torch.cat([torch.empty(0), *share.biases])


def _taken(weight_OD: Tensor, columns: Sequence[int]) -> Tensor:
    """Those columns of a matrix; zeros for -1."""
    padded = torch.cat([weight_OD, weight_OD.new_zeros(len(weight_OD), 1)], dim=1)
    return padded[:, list(columns)]


def _hull(weight_OV: Tensor) -> slice:
    """The columns from the first to the last that a matrix reads, in whole blocks."""
    read = weight_OV.any(dim=0).nonzero().flatten()
    if len(read) == 0:
        return slice(0, min(_BLOCK, weight_OV.shape[1]))
    return slice(int(read.min()) // _BLOCK * _BLOCK, min((int(read.max()) // _BLOCK + 1) * _BLOCK, weight_OV.shape[1]))


def _whole(network: fx.GraphModule, request_XU: fx.Node, item_LV: fx.Node, columns: Sequence[int]) -> fx.Node:
    """The representation itself, for those who read more of it than products: put together once."""
    graph = network.graph
    places = {column: place for place, column in enumerate(columns) if column >= 0}
    with graph.inserting_after(request_XU):
        x_LD = graph.call_function(ATEN.index_select.default)
    with graph.inserting_before(x_LD):
        rows = graph.call_function(ATEN.sym_size.int, (item_LV, 0))
        request_LU = graph.call_function(ATEN.expand.default, (request_XU, [rows, -1]))
        both = graph.call_function(ATEN.cat.default, ([request_LU, item_LV], 1))
        places_D = add_constant(network, torch.tensor([places[column] for column in range(len(places))]))
    x_LD.args = (both, 1, places_D)
    return x_LD
