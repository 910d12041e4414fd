"""An architecture after all passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from ranker.manifest import Precision
from ranker.serving_graph.across import compute_across
from ranker.serving_graph.apart import take_apart
from ranker.serving_graph.bfloat16 import lower
from ranker.serving_graph.blocks import join_blocks
from ranker.serving_graph.constants import fold_constants
from ranker.serving_graph.layout import lay_out
from ranker.serving_graph.mixing import mix_along_rows, mix_at_once
from ranker.serving_graph.order import order
from ranker.serving_graph.relu import activate_in_place, activate_whole, fuse
from ranker.serving_graph.split import split
from ranker.serving_graph.trace import trace
from ranker.serving_graph.views import read_whole
from ranker.serving_graph.wide import widen

# Shapes: L = item rows, X = 1 (one request) or L, U and V = columns of the request's and the item's side, P = products


@dataclass(frozen=True, slots=True)
class Served:
    """What an architecture becomes.

    Attributes:
        network: From `item_LV` and `request_XP` to a tuple of raw outputs [L], in the order of `task_names`.
        weight_PU: Matrix of the request's products.
        bias_P: Their bias.
        task_names: Names of the outputs.
    """

    network: fx.GraphModule
    weight_PU: Tensor
    bias_P: Tensor
    task_names: tuple[str, ...]

    def request_products(self, request_XU: Tensor) -> Tensor:
        """The request's share of all layers, [X, P]."""
        return nn.functional.linear(request_XU, self.weight_PU, self.bias_P)


def serve(
    architecture: nn.Module,
    request_columns: Sequence[int],
    item_columns: Sequence[int],
    precision: Precision = "fp32",
    num_sets: int = 1,
) -> Served:
    """Rewrite an architecture for one request against many items.

    Args:
        architecture: From the representation [B, D] to one raw output per task, in eval mode.
        request_columns: Column of the representation that each column of the request's side is.
        item_columns: The same of the item's side; -1: padding, of zeros.
        precision: bf16: large products in bfloat16; see `lower`.
        num_sets: Embedding sets that lie side by side in the representation.
    """
    width = len({*request_columns, *item_columns} - {-1})
    traced, task_names = trace(architecture, width)
    with torch.no_grad():
        fold_constants(traced)
        read_whole(traced)
        widen(traced, num_sets, keep_full_precision=precision == "bf16")
        weight_PU, bias_P = split(traced, request_columns, item_columns)
        activate_whole(traced)
        mix_at_once(traced)
        mix_along_rows(traced)
        if precision == "bf16":
            while join_blocks(traced):
                activate_whole(traced)
            take_apart(traced)
            lower(traced)
            fuse(traced)
            lay_out(traced)
        compute_across(traced)
        activate_in_place(traced)
        order(traced)
        scriptable(traced)
    return Served(traced, weight_PU, bias_P, task_names)


def scriptable(network: fx.GraphModule) -> None:
    """Name operations without their overloads, which TorchScript does not know."""
    for node in network.graph.nodes:
        if isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target.overloadpacket
    network.recompile()
