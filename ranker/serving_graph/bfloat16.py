"""Matrix products in bfloat16, around what stays float32."""

from __future__ import annotations

import operator

import torch
from torch import fx

from ranker.serving_graph.constants import add_constant, constant, prune
from ranker.serving_graph.mixing import SEEN
from ranker.serving_graph.mixture import mix, mix_low
from ranker.serving_graph.split import REQUEST, split_linear
from ranker.serving_graph.trace import ATEN, FULL_PRECISION

LOW = "low"  # key of a node's `meta`: a product in bfloat16

_PRODUCTS = {ATEN.linear.default, ATEN.baddbmm.default, split_linear}

# What gives bfloat16 for bfloat16 and loses nothing by it that the product before has not lost.
_KEEPS = {
    *(ATEN.relu.default, ATEN.leaky_relu.default, ATEN.gelu.default, ATEN.silu.default, ATEN.tanh.default),
    *(ATEN.unflatten.int, ATEN.flatten.using_ints, ATEN.transpose.int, ATEN.select.int, ATEN.slice.Tensor),
    *(ATEN.unsqueeze.default, ATEN.unbind.int, ATEN.chunk.default, ATEN.split.Tensor, ATEN.stack.default),
    *(ATEN.cat.default, ATEN.view.default, ATEN.reshape.default, ATEN.contiguous.default, operator.getitem),
}


def lower(network: fx.GraphModule) -> None:
    """Let large products read and give bfloat16; all else reads float32.

    Large products are those that training lets autocast lower: not the logits of gates and tasks. What mixes, norms or
    weighs reads float32, as do the outputs.
    """
    low: set[fx.Node] = set()
    casts = _Casts(network)
    for node in list(network.graph.nodes):
        if node.op not in ("call_function", "output"):
            continue
        reads = node.all_input_nodes
        if node.target in _PRODUCTS and not node.meta.get(FULL_PRECISION):
            for read in reads:
                if read not in low:
                    node.replace_input_with(read, casts.find(read, node, torch.bfloat16))
            low.add(node)
            node.meta[LOW] = True
        elif node.target in _KEEPS and all(read in low for read in reads):
            low.add(node)
        elif node.target is mix and node.args[2] in low:
            _mix_low(network, node)
            low.add(node)
        else:
            for read in reads:
                if read in low:
                    node.replace_input_with(read, casts.find(read, node, torch.float32))
    prune(network)


class _Casts:
    """Nodes as another type, each computed once."""

    def __init__(self, network: fx.GraphModule) -> None:
        self._network = network
        self._found: dict[tuple[fx.Node, torch.dtype], fx.Node] = {}

    def find(self, read: fx.Node, user: fx.Node, dtype: torch.dtype) -> fx.Node:
        """A node as `dtype`, computed before the first that reads it."""
        if (read, dtype) not in self._found:
            with self._network.graph.inserting_before(user):
                self._found[read, dtype] = self._cast(read, user, dtype)
        return self._found[read, dtype]

    def _cast(self, read: fx.Node, user: fx.Node, dtype: torch.dtype) -> fx.Node:
        graph, tensor = self._network.graph, constant(self._network, read)
        if tensor is not None:
            return add_constant(self._network, tensor.to(dtype))
        if read.target is ATEN.slice.Tensor and _of_request(read):  # nearly always one row, so as fast as a part
            source, *columns = read.args
            assert isinstance(source, fx.Node)
            whole = self.find(source, user, dtype)
            with graph.inserting_before(user):
                return graph.call_function(ATEN.slice.Tensor, (whole, *columns))
        return graph.call_function(ATEN.to.dtype, (read, dtype))


def _of_request(node: fx.Node) -> bool:
    """Whether a node is a part of the request's products."""
    while node.target is ATEN.slice.Tensor:
        read = node.args[0]
        assert isinstance(read, fx.Node)
        node = read
    return node.op == "placeholder" and node.target == REQUEST


def _mix_low(network: fx.GraphModule, node: fx.Node) -> None:
    """Let a mixture of bfloat16 be one, and tell it which expert each gate sees."""
    with network.graph.inserting_before(node):
        weighing = [places if places is None else add_constant(network, places) for places in node.meta[SEEN]]
    node.target, node.args = mix_low, (*node.args, *weighing)
