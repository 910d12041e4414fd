"""Layers of several experts at once, taken apart: an expert's next layer then finds its input in the cache."""

from __future__ import annotations

from torch import Tensor, fx

from ranker.serving_graph.constants import add_constant, constant, prune
from ranker.serving_graph.split import split_linear
from ranker.serving_graph.trace import ATEN

# Shapes: B = rows, E = experts, I and O = a layer's input and output width


def take_apart(network: fx.GraphModule) -> None:
    """Compute batched layers, and the wide product that they read, as one product per expert.

    A batch wants its input expert by expert, a wide product gives it row by row: the copy between them, and the bias
    that is copied to every row, take half as long as the products.
    """
    experts: dict[fx.Node, list[fx.Node]] = {}  # of nodes [E, B, O]: each expert's own [B, O]
    for node in list(network.graph.nodes):
        with network.graph.inserting_before(node):
            if node.target is ATEN.baddbmm.default and (
                inputs := experts.get(node.args[1]) or _unstacked(network, node)
            ):
                experts[node] = _layers(network, node, inputs)
            elif node.target is ATEN.relu.default and node.args[0] in experts:
                experts[node] = [_relu(network.graph, expert) for expert in experts[node.args[0]]]
    for node, apart in experts.items():
        for reader in [reader for reader in node.users if reader not in experts]:
            _stack(network.graph, node, reader, apart)
    prune(network)


def _layers(network: fx.GraphModule, batched: fx.Node, inputs: list[fx.Node]) -> list[fx.Node]:
    """A batched layer expert by expert."""
    bias_E1O, weight_EIO = constant(network, batched.args[0]), constant(network, batched.args[2])
    assert bias_E1O is not None
    assert weight_EIO is not None
    return [
        _product(network, one, weight_EIO[number].t(), add_constant(network, bias_E1O[number, 0]))
        for number, one in enumerate(inputs)
    ]


def _unstacked(network: fx.GraphModule, batched: fx.Node) -> list[fx.Node]:
    """What each expert of a batched layer reads, if it is columns of rows; else nothing."""
    bias_E1O, weight_EIO = constant(network, batched.args[0]), constant(network, batched.args[2])
    transpose = batched.args[1]
    if bias_E1O is None or bias_E1O.dim() != 3 or weight_EIO is None or not isinstance(transpose, fx.Node):
        return []
    unflatten = transpose.args[0] if transpose.target is ATEN.transpose.int and transpose.args[1:] == (0, 1) else None
    if not isinstance(unflatten, fx.Node) or unflatten.target is not ATEN.unflatten.int or unflatten.args[1] != 1:
        return []
    rows, width = unflatten.args[0], weight_EIO.shape[1]
    assert isinstance(rows, fx.Node)
    return [_columns(network, rows, start, start + width) for start in range(0, len(weight_EIO) * width, width)]


def _columns(network: fx.GraphModule, rows: fx.Node, start: int, stop: int) -> fx.Node:
    """Some columns of a node [B, I]: of a product that nobody else reads as a product of their own."""
    read = rows.args[0]
    if len(rows.users) == 1 and rows.target is ATEN.relu.default and isinstance(read, fx.Node):
        return _relu(network.graph, _columns(network, read, start, stop))
    weight_OI = constant(network, rows.args[1]) if len(rows.args) > 2 else None
    if len(rows.users) > 1 or weight_OI is None or rows.target not in (ATEN.linear.default, split_linear):
        return network.graph.call_function(ATEN.slice.Tensor, (rows, 1, start, stop))
    assert isinstance(read, fx.Node)
    bias = constant(network, rows.args[2])
    if bias is not None:
        return _product(network, read, weight_OI[start:stop], add_constant(network, bias[start:stop]))
    request_XO = network.graph.call_function(ATEN.slice.Tensor, (rows.args[2], 1, start, stop))
    weight = add_constant(network, weight_OI[start:stop])
    return network.graph.call_function(split_linear, (read, weight, request_XO))


def _product(network: fx.GraphModule, read: fx.Node, weight_OI: Tensor, bias: fx.Node) -> fx.Node:
    return network.graph.call_function(ATEN.linear.default, (read, add_constant(network, weight_OI), bias))


def _relu(graph: fx.Graph, read: fx.Node) -> fx.Node:
    return graph.call_function(ATEN.relu.default, (read,))


def _stack(graph: fx.Graph, node: fx.Node, reader: fx.Node, experts: list[fx.Node]) -> None:
    """Let a reader of all experts read them put together; [B, E, O] at once if it wants that."""
    rows_first = reader.target is ATEN.transpose.int and reader.args[1:] == (0, 1)
    with graph.inserting_before(reader):
        stacked = graph.call_function(ATEN.stack.default, (experts, 1 if rows_first else 0))
    stacked.meta = dict(reader.meta if rows_first else node.meta)
    if rows_first:
        reader.replace_all_uses_with(stacked)
    else:
        reader.replace_input_with(node, stacked)
