"""MMoE as a tutorial writes it: one `nn.Embedding` a feature, a list of experts, all features in every row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

# Shapes: L = candidates, F = categories, N = numbers, D = input width, E = experts, H = expert output width, T = tasks


class Sizes(NamedTuple):
    """What the network is built from."""

    table_rows: list[int]
    embedding_dim: int
    num_numbers: int
    num_experts: int
    expert_dims: list[int]
    tower_dims: list[int]
    num_tasks: int

    @property
    def input_dim(self) -> int:
        """Width D of the input."""
        return len(self.table_rows) * self.embedding_dim + self.num_numbers


def perceptron(dims: Sequence[int]) -> nn.Sequential:
    """Linear and ReLU, once per layer."""
    layers: list[nn.Module] = []
    for in_dim, out_dim in pairwise(dims):
        layers += [nn.Linear(in_dim, out_dim), nn.ReLU()]
    return nn.Sequential(*layers)


class NaiveMMoE(nn.Module):
    """Multi-gate Mixture-of-Experts."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, hidden = sizes.input_dim, sizes.expert_dims[-1]
        self.embeddings = nn.ModuleList(nn.Embedding(rows, sizes.embedding_dim) for rows in sizes.table_rows)
        self.experts = nn.ModuleList(perceptron([width, *sizes.expert_dims]) for _ in range(sizes.num_experts))
        self.gates = nn.ModuleList(nn.Linear(width, sizes.num_experts, bias=False) for _ in range(sizes.num_tasks))
        self.towers = nn.ModuleList(
            nn.Sequential(perceptron([hidden, *sizes.tower_dims]), nn.Linear(sizes.tower_dims[-1], 1))
            for _ in range(sizes.num_tasks)
        )

    def forward(self, ids_LF: Tensor, numbers_LN: Tensor) -> Tensor:
        """Probabilities [L, T].

        Args:
            ids_LF: Table rows, int64.
            numbers_LN: float32.
        """
        embedded: list[Tensor] = []
        for place, embedding in enumerate(self.embeddings):
            embedded.append(embedding(ids_LF[:, place]))
        x_LD = torch.cat(embedded + [numbers_LN], dim=1)  # noqa: RUF005  (TorchScript unpacks no list)
        experts_LEH = torch.stack([expert(x_LD) for expert in self.experts], dim=1)
        probabilities: list[Tensor] = []
        for gate, tower in zip(self.gates, self.towers):  # noqa: B905  (TorchScript knows no `strict`)
            gate_LE1 = torch.softmax(gate(x_LD), dim=1).unsqueeze(2)
            probabilities.append(torch.sigmoid(tower((gate_LE1 * experts_LEH).sum(dim=1))))
        return torch.cat(probabilities, dim=1)
