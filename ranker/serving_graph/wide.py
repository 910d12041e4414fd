"""Products that read the same input, computed as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from ranker.layers.linear import MIN_COLUMNS
from ranker.serving_graph.constants import add_constant, constant, prune
from ranker.serving_graph.trace import ATEN, FULL_PRECISION

# Shapes: I and O = a product's input and output width


@dataclass(frozen=True, slots=True)
class Product:
    """A linear layer of the graph.

    Attributes:
        node: Its node.
        weight_OI: Its matrix.
        bias_O: Its bias; zeros if it has none.
        full_precision: Whether training, too, computes it in float32.
    """

    node: fx.Node
    weight_OI: Tensor
    bias_O: Tensor
    full_precision: bool

    @property
    def input(self) -> fx.Node:
        """What it reads."""
        read = self.node.args[0]
        assert isinstance(read, fx.Node)
        return read


def products(network: fx.GraphModule) -> list[Product]:
    """All linear layers on rows [B, I], in order."""
    found = []
    for node in network.graph.nodes:
        if node.target is not ATEN.linear.default:
            continue
        weight_OI = constant(network, node.args[1])
        bias_O = constant(network, node.args[2]) if len(node.args) > 2 else None
        if weight_OI is None or (bias_O is None and len(node.args) > 2 and node.args[2] is not None):
            continue
        if node.meta["val"].dim() == 2:
            bias_O = weight_OI.new_zeros(len(weight_OI)) if bias_O is None else bias_O
            found.append(Product(node, weight_OI, bias_O, bool(node.meta.get(FULL_PRECISION))))
    return found


def widen(network: fx.GraphModule, num_sets: int = 1, keep_full_precision: bool = False) -> None:
    """Join the linear layers that read the same input into one, whose columns are then told apart.

    Args:
        network: Traced.
        num_sets: Blocks of equal width in the representation. Layers that read different blocks are not joined: they
            would multiply by zeros.
        keep_full_precision: Do not join layers that stay float32 with such as do not.
    """
    groups: dict[Hashable, list[Product]] = defaultdict(list)
    x_BD = next(node for node in network.graph.nodes if node.op == "placeholder")
    for product in products(network):
        blocks = _blocks(product.weight_OI, num_sets) if product.input is x_BD else None
        groups[product.input, blocks, product.full_precision and keep_full_precision].append(product)
    for group in groups.values():
        if len(group) > 1:
            join(network, group[0].input, group, torch.cat)
    prune(network)


def _blocks(weight_OI: Tensor, num_sets: int) -> tuple[int, int]:
    """First and last of the equal blocks of columns that a matrix reads."""
    width = max(weight_OI.shape[1] // num_sets, 1)
    read = weight_OI.any(dim=0).nonzero().flatten() // width
    return (int(read.min()), int(read.max())) if len(read) else (0, 0)


def join(
    network: fx.GraphModule, read: fx.Node, group: list[Product], matrix: Callable[[list[Tensor]], Tensor]
) -> None:
    """Replace layers by columns of one.

    Args:
        network: Their graph.
        read: What the one layer reads.
        group: The layers, all of full precision or none.
        matrix: Makes its matrix of theirs, whose rows stay in order.
    """
    trimmed = [_trimmed(product) for product in group]
    weight_OI = matrix([weight for weight, _ in trimmed])
    bias_O = torch.cat([bias for _, bias in trimmed])
    padding = -len(bias_O) % MIN_COLUMNS
    first = group[0].node
    with network.graph.inserting_after(read):
        anchor = network.graph.call_function(ATEN.linear.default, (read,))
    with network.graph.inserting_before(anchor):
        weight = add_constant(network, F.pad(weight_OI, [0, 0, 0, padding]))
        bias = add_constant(network, F.pad(bias_O, [0, padding]))
    anchor.args = (read, weight, bias)
    anchor.meta = {"val": first.meta["val"], FULL_PRECISION: all(product.full_precision for product in group)}
    start = 0
    for product, (_, own_bias) in zip(group, trimmed, strict=True):
        with network.graph.inserting_before(product.node):
            columns = network.graph.call_function(ATEN.slice.Tensor, (anchor, 1, start, start + len(own_bias)))
        columns.meta = product.node.meta
        trimmed_readers = [] if len(own_bias) == len(product.bias_O) else list(product.node.users)
        for replaced in (product.node, *trimmed_readers):
            replaced.replace_all_uses_with(columns)
        start += len(own_bias)


def _trimmed(product: Product) -> tuple[Tensor, Tensor]:
    """Matrix and bias without the columns that only padded the layer: those that no reader takes."""
    ends = {
        user.args[3] if user.target is ATEN.slice.Tensor and user.args[1:3] == (1, 0) else None
        for user in product.node.users
    }
    end = ends.pop() if len(ends) == 1 else None
    assert end is None or isinstance(end, int)
    return product.weight_OI[:end], product.bias_O[:end]
