"""Operands in the order in which oneDNN's products read them."""

from __future__ import annotations

from torch import fx

from ranker.serving_graph.bfloat16 import LOW
from ranker.serving_graph.constants import constant
from ranker.serving_graph.trace import ATEN

_GAPS = {ATEN.select.int, ATEN.slice.Tensor}  # what they give is a part of every row


def lay_out(network: fx.GraphModule) -> None:
    """Store the matrices of bfloat16 products column by column, and copy parts of rows to be rows of their own.

    oneDNN would arrange both for itself, and takes longer.
    """
    for node in [node for node in network.graph.nodes if node.meta.get(LOW)]:
        batched = node.target is ATEN.baddbmm.default
        read, matrix = node.args[1:3] if batched else node.args[:2]
        weight_OI = None if batched else constant(network, matrix)
        if weight_OI is not None:
            setattr(network, str(matrix.target), weight_OI.t().contiguous().t())
        if batched or (read.target in _GAPS and read.args[1] != 0):
            _read_dense(network.graph, read)


def _read_dense(graph: fx.Graph, part: fx.Node) -> None:
    with graph.inserting_after(part):
        dense = graph.call_function(ATEN.contiguous.default)
    part.replace_all_uses_with(dense)
    dense.args = (part,)
