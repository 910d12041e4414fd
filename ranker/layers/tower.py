"""The tower that turns a task's representation into its logit."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ranker.layers.mlp import MLP, Activation
from ranker.layers.precision import FullLinear

# Shapes: B = rows, H = width of the representation


class Tower(nn.Module):
    """Hidden layers and a linear output: one logit (or one predicted value) per row.

    Args:
        input_dim: Width H of the representation.
        hidden_dims: Widths of the hidden layers; empty makes the tower linear.
        activation: Name of the activation after every hidden layer.
        dropout: Share of hidden activations zeroed while training, in [0, 1).

    Example:
        >>> import torch
        >>> Tower(5, (3,))(torch.zeros(1, 5)).shape
        torch.Size([1])
    """

    def __init__(
        self, input_dim: int, hidden_dims: Sequence[int], activation: Activation = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.hidden = MLP(input_dim, hidden_dims, activation, dropout)
        self.output = FullLinear(self.hidden.output_dim, 1)

    def forward(self, x_BH: Tensor) -> Tensor:
        """Map [B, H] to raw outputs [B]."""
        logits_B1: Tensor = self.output(self.hidden(x_BH))
        return logits_B1[:, 0]
