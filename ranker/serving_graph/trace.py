"""From an architecture, as training runs it, to one flat graph of torch's own operations."""

from __future__ import annotations

import operator
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, TensorArgument

# Shapes: B = rows, D = width of the representation

ATEN = torch.ops.aten
FULL_PRECISION = "full_precision"  # key of a node's `meta`: training, too, computes it in float32

_SAME_WHEN_SERVED = {ATEN.dropout.default, ATEN.detach.default, ATEN.alias.default, ATEN.clone.default}
_CHECKS = {ATEN._assert_tensor_metadata.default, ATEN._assert_scalar.default, ATEN.sym_constrain_range.default}
_EXAMPLE_ROWS = 3  # torch.export takes 0 and 1 for special


def trace(architecture: nn.Module, width: int) -> tuple[fx.GraphModule, tuple[str, ...]]:
    """A flat graph from `x_BD` to a tuple of raw outputs, with constants as `get_attr` nodes.

    Args:
        architecture: From [B, D] to one raw output per task, in eval mode; as `torch.export` takes it.
        width: D.

    Returns:
        The graph, and the names of its outputs.

    Raises:
        ValueError: The architecture is in training mode.
    """
    if architecture.training:
        raise ValueError("`architecture` must be in eval mode, or dropout would serve; call `.eval()`")
    example_BD = torch.zeros(_EXAMPLE_ROWS, width)
    with torch.inference_mode(False), torch.no_grad():
        task_names = tuple(architecture(example_BD))
        exported = torch.export.export(
            _Ordered(architecture), (example_BD,), dynamic_shapes=({0: torch.export.Dim("rows")},)
        )
    root, graph = nn.Module(), fx.Graph()
    inputs = []
    for number, spec in enumerate(exported.graph_signature.input_specs):
        assert isinstance(spec.arg, TensorArgument)
        if spec.kind == InputKind.USER_INPUT:
            inputs.append(graph.placeholder("x_BD"))
            inputs[-1].meta = {"val": example_BD}
            continue
        assert spec.target is not None
        tensor = exported.state_dict.get(spec.target, exported.constants.get(spec.target))
        assert isinstance(tensor, Tensor)
        root.register_buffer(f"traced_{number}", tensor.detach())
        inputs.append(graph.get_attr(f"traced_{number}"))
    graph.output(tuple(_copy(exported.graph_module, inputs, graph, full_precision=False)))
    return fx.GraphModule(root, graph), task_names


class _Ordered(nn.Module):
    """The outputs of an architecture without their names."""

    def __init__(self, architecture: nn.Module) -> None:
        super().__init__()
        self.architecture = architecture

    def forward(self, x_BD: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.architecture(x_BD).values())


def _copy(source: fx.GraphModule, inputs: Sequence[Any], graph: fx.Graph, full_precision: bool) -> Any:
    """Append the nodes of `source`, those of regions without autocast marked; gives its outputs."""
    copies: dict[fx.Node, Any] = {}
    remaining = iter(inputs)
    for node in source.graph.nodes:
        if node.op == "output":
            break
        arguments = fx.map_arg(node.args, copies.__getitem__)
        if node.op == "placeholder":
            copies[node] = next(remaining)
        elif node.op == "get_attr":
            copies[node] = getattr(source, node.target)
        elif node.target is torch.ops.higher_order.wrap_with_autocast:
            _, _, enabled, _, region, *region_inputs = arguments
            copies[node] = _copy(region, region_inputs, graph, full_precision or not enabled)
        elif node.target is operator.getitem and isinstance(arguments[0], tuple | list):
            copies[node] = arguments[0][arguments[1]]
        elif _hands_on(node):
            copies[node] = arguments[0]
        elif node.target not in _CHECKS:
            keywords = fx.map_arg(node.kwargs, copies.__getitem__)
            copy = graph.call_function(node.target, arguments, keywords)
            copy.meta = {"val": node.meta["val"], FULL_PRECISION: full_precision}
            copies[node] = copy
    return fx.map_arg(node.args[0], copies.__getitem__)


def _hands_on(node: fx.Node) -> bool:
    """Whether a node gives its first argument as it is, in eval mode and without gradients."""
    if node.target in _SAME_WHEN_SERVED:
        return True
    if node.target is ATEN.slice.Tensor:
        start, end = (*node.args[2:], None, None)[:2]
        return bool(start in (0, None) and end in (sys.maxsize, None) and len(node.args) < 5)
    if node.target is ATEN.to.dtype:
        read = node.args[0]
        assert isinstance(read, fx.Node)
        return bool(read.meta["val"].dtype == node.args[1])
    return False
