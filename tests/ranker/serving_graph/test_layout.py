"""Operands lie the way oneDNN reads them."""

from __future__ import annotations

import torch

from ranker.models import PLE
from ranker.onednn import linear_relu
from ranker.serving_graph import serve
from ranker.serving_graph.relu import split_linear_relu
from ranker.serving_graph.trace import ATEN

REQUEST, ITEM = [3, 8, 2, 0], [10, 4, 5, 7, 6, 1, 9]


def test_products_read_matrices_by_columns_and_rows_side_by_side() -> None:
    architecture = PLE.Config(expert_dims=((24,), (9,))).build(11, ("ctr", "cvr")).eval()
    network = serve(architecture, REQUEST, ITEM, "bf16").network
    products = [node for node in network.graph.nodes if node.target in (linear_relu, split_linear_relu)]
    dense = [node for node in products if node.args[0].target is ATEN.contiguous]
    assert len(dense) == 3  # experts of both tasks and the shared ones, each of what its gate mixed
    for node in products:
        matrix_OI = getattr(network, node.args[1].target)
        assert matrix_OI.dtype == torch.bfloat16
        assert matrix_OI.t().is_contiguous()
        assert node.args[0].target not in (ATEN.select, ATEN.slice)
