"""Small layers that read neighbouring parts of one tensor, such as the towers of two tasks, computed as one."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import fx

from ranker.serving_graph.constants import prune
from ranker.serving_graph.trace import ATEN
from ranker.serving_graph.wide import Product, join, products

_MAX_ZEROS = 2**15  # products with zeros, per row, that take less time than a further layer


def join_blocks(network: fx.GraphModule) -> bool:
    """Let layers of one shape, each of which reads its own part of a tensor, be one with a block-diagonal matrix.

    A layer of a hundred columns takes little longer than one of fifty, so that zeros cost less than a second call.

    Returns:
        Whether there were any. Those behind them may be next, once ReLU follows the new layer as a whole.
    """
    groups: dict[tuple[fx.Node, torch.Size, bool], dict[int, Product]] = defaultdict(dict)
    for product in products(network):
        if (number := _part(product)) is not None:
            whole = product.input.args[0]
            assert isinstance(whole, fx.Node)
            groups[whole, product.weight_OI.shape, product.full_precision][number] = product
    found = {key: group for key, group in groups.items() if _pays(*key[:2], len(group))}
    for (whole, *_), group in found.items():
        _join(network, whole, [group[number] for number in range(len(group))])
    prune(network)
    return bool(found)


def _pays(whole: fx.Node, shape: torch.Size, count: int) -> bool:
    """Whether `count` layers of a shape read all of a tensor, and few zeros would come with one for all."""
    return count == len(whole.users) > 1 and count * (count - 1) * shape.numel() <= _MAX_ZEROS


def _part(product: Product) -> int | None:
    """Which part of a tensor a layer alone reads; None if it does not read a part, or not alone."""
    read, width = product.input, product.weight_OI.shape[1]
    if len(read.users) > 1 or len(read.args) < 3 or read.args[1] != 1:
        return None
    start = read.args[2]
    assert isinstance(start, int)
    if read.target is ATEN.select.int:
        return start
    aligned = read.target is ATEN.slice.Tensor and start % width == 0 and read.args[3] == start + width
    return start // width if aligned else None


def _join(network: fx.GraphModule, whole: fx.Node, group: list[Product]) -> None:
    graph, width = network.graph, group[0].weight_OI.shape[1]
    with graph.inserting_after(whole):
        if group[0].input.target is ATEN.select.int:
            read = graph.call_function(ATEN.flatten.using_ints, (whole, 1))
        else:
            read = graph.call_function(ATEN.slice.Tensor, (whole, 1, 0, len(group) * width))
    join(network, read, group, lambda weights: torch.block_diag(*weights))
