"""Experts: networks of one shape that read the same input, computed together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ranker.layers.linear import MIN_COLUMNS, Linear
from ranker.layers.mlp import Activation, build_activation

# Shapes: B = rows, D = input width, E = experts, I and O = a layer's input and output width, H = expert output width

ExpertNorm = Literal["none", "batch", "layer"]


class ExpertLinear(nn.Module):
    """E linear layers side by side, each on its own input, as one batched product.

    Every expert starts as `torch.nn.Linear` would start it: uniform within 1 / sqrt(input width). Narrow ones are
    computed wider, for the reason given at `Linear`.
    """

    def __init__(self, num_experts: int, input_dim: int, output_dim: int) -> None:
        super().__init__()
        bound = input_dim**-0.5
        self.weight_EIO = nn.Parameter(torch.empty(num_experts, input_dim, output_dim).uniform_(-bound, bound))
        self.bias_E1O = nn.Parameter(torch.empty(num_experts, 1, output_dim).uniform_(-bound, bound))
        self.output_dim = output_dim
        self.num_padding = max(0, MIN_COLUMNS - output_dim)

    def forward(self, x_EBI: Tensor) -> Tensor:
        """Map [E, B, I] to [E, B, O]."""
        if self.num_padding == 0:
            return torch.baddbmm(self.bias_E1O, x_EBI, self.weight_EIO)
        padding = [0, self.num_padding]
        wide_EBP = torch.baddbmm(F.pad(self.bias_E1O, padding), x_EBI, F.pad(self.weight_EIO, padding))
        return wide_EBP[:, :, : self.output_dim]


class Experts(nn.Module):
    """E expert networks on one input: the first layer is one wide product, deeper ones are batched products.

    Args:
        num_experts: Experts E, at least 1.
        input_dim: Width D of the input.
        hidden_dims: Widths of every expert's layers, first to last; at least one.
        activation: Name of the activation after every layer.
        dropout: Share of activations zeroed while training, in [0, 1).
        norm: What normalises each expert before its last activation.

    Attributes:
        num_experts: Experts E.
        output_dim: Width H of each expert's output.

    Example:
        >>> Experts(num_experts=3, input_dim=5, hidden_dims=(4, 2))(torch.zeros(7, 5)).shape
        torch.Size([7, 3, 2])
    """

    def __init__(
        self,
        num_experts: int,
        input_dim: int,
        hidden_dims: Sequence[int],
        activation: Activation = "relu",
        dropout: float = 0.0,
        norm: ExpertNorm = "none",
    ) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.output_dim = hidden_dims[-1]
        # All first layers read x, so E of them are one Linear; its default start depends on D alone, as theirs would.
        self.first = Linear(input_dim, num_experts * hidden_dims[0])
        self.deeper = nn.ModuleList(
            ExpertLinear(num_experts, in_dim, out_dim) for in_dim, out_dim in pairwise(hidden_dims)
        )
        self.activation = build_activation(activation)
        self.norm = build_norm(norm, num_experts, self.output_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BD: Tensor) -> Tensor:
        """Map [B, D] to every expert's output, [B, E, H]."""
        hidden_BEH: Tensor = self.first(x_BD).unflatten(1, [self.num_experts, -1])
        for layer in self.deeper:
            # Activated as the wide product left it, row by row: both passes then go straight through memory.
            hidden_EBH = self.dropout(self.activation(hidden_BEH)).transpose(0, 1)
            if self.training:
                hidden_EBH = hidden_EBH.contiguous()  # the products of the backward pass want each expert's rows dense
            hidden_BEH = layer(hidden_EBH).transpose(0, 1)
        output_BEH: Tensor = self.dropout(self.activation(self.norm(hidden_BEH)))
        return output_BEH

    def last_layer(self) -> list[nn.Parameter]:
        """Parameters of the last layer of every expert."""
        return list((self.deeper[-1] if len(self.deeper) else self.first).parameters())


class PerExpertBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of each expert's output, [B, E, H]: statistics over rows, per expert and column.

    A single row has no spread: it is normalised by the statistics of earlier batches, even while training.
    """

    def __init__(self, num_experts: int, output_dim: int) -> None:
        super().__init__(num_experts * output_dim)

    def forward(self, x_BEH: Tensor) -> Tensor:
        """Normalise [B, E, H]."""
        by_batch = self.training and x_BEH.size(0) > 1
        normal = F.batch_norm(
            x_BEH.flatten(1), self.running_mean, self.running_var, self.weight, self.bias, by_batch, 0.1, self.eps
        )
        return normal.view_as(x_BEH)


class PerExpertLayerNorm(nn.Module):
    """Layer normalisation of each expert's output, [B, E, H]: statistics per row and expert, own scale and shift."""

    def __init__(self, num_experts: int, output_dim: int) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.weight_EH = nn.Parameter(torch.ones(num_experts, output_dim))
        self.bias_EH = nn.Parameter(torch.zeros(num_experts, output_dim))

    def forward(self, x_BEH: Tensor) -> Tensor:
        """Normalise [B, E, H]."""
        return F.layer_norm(x_BEH, [self.output_dim]) * self.weight_EH + self.bias_EH


def build_norm(name: ExpertNorm, num_experts: int, output_dim: int) -> nn.Module:
    """The normalisation of that name, for outputs [B, E, H] of E experts."""
    if name == "batch":
        return PerExpertBatchNorm(num_experts, output_dim)
    if name == "layer":
        return PerExpertLayerNorm(num_experts, output_dim)
    return nn.Identity()


class NoExperts(nn.Module):
    """An empty group of experts, so that formulas over groups need no special case."""

    def __init__(self, output_dim: int) -> None:
        super().__init__()
        self.output_dim = output_dim

    def forward(self, x_BD: Tensor) -> Tensor:
        """Map [B, D] to [B, 0, H]."""
        return x_BD.new_zeros([x_BD.size(0), 0, self.output_dim])

    def last_layer(self) -> list[nn.Parameter]:
        """Nothing."""
        return []
