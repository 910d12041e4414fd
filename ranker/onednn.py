"""A layer and its ReLU as one operation of oneDNN, which has ReLU done before the products leave the registers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Shapes: B = rows, I and O = a layer's inputs and outputs

_NAME = "_linear_pointwise"
_SCHEMA = f"{_NAME}(Tensor X, Tensor W, Tensor? B, str attr, Scalar?[] scalars, str? algorithm) -> Tensor Y"
_library = torch.library.Library("mkldnn", "FRAGMENT")


def linear_relu(x_BI: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    """relu(W x + b), [B, O]; scriptable.

    Example:
        >>> linear_relu(torch.tensor([[2.0]]), torch.tensor([[3.0], [-3.0]]), torch.tensor([1.0, 1.0]))
        tensor([[7., 0.]])
    """
    fused: Tensor = torch.ops.mkldnn._linear_pointwise(x_BI, weight_OI, bias_O, "relu", [], "")
    return fused


def stand_in(x_BI: Tensor, weight_OI: Tensor, bias_O: Tensor | None, *_relu: object) -> Tensor:
    """The same by torch's own operations."""
    return F.linear(x_BI, weight_OI, bias_O).relu_()


if not hasattr(torch.ops.mkldnn, _NAME):  # a torch without oneDNN must load and run the same bundles
    _library.define(_SCHEMA)
    _library.impl(_NAME, stand_in, "CPU")
