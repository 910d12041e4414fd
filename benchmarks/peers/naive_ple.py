"""PLE as a tutorial writes it: a list of experts per owner and level, all features in every row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.peers.network import Sizes, perceptron

# Shapes: L = candidates, F = categories, N = numbers, B = rows, D = a level's input width, E = experts,
# H = a level's output width, T = tasks


class NaivePLE(nn.Module):
    """Progressive Layered Extraction; `sizes.num_experts` experts are shared, and as many belong to each task."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.num_tasks = sizes.num_tasks
        self.embeddings = nn.ModuleList(nn.Embedding(rows, sizes.embedding_dim) for rows in sizes.table_rows)
        widths = [sizes.input_dim, *sizes.expert_dims]
        last = len(sizes.expert_dims) - 1
        self.levels = nn.ModuleList(
            NaiveLevel(widths[depth], widths[depth + 1], sizes, depth < last) for depth in range(last + 1)
        )
        self.towers = nn.ModuleList(
            nn.Sequential(perceptron([widths[-1], *sizes.tower_dims]), nn.Linear(sizes.tower_dims[-1], 1))
            for _ in range(sizes.num_tasks)
        )

    def forward(self, ids_LF: Tensor, numbers_LN: Tensor) -> Tensor:
        """Probabilities [L, T]; arguments as those of `NaiveMMoE`."""
        embedded: list[Tensor] = []
        for place, embedding in enumerate(self.embeddings):
            embedded.append(embedding(ids_LF[:, place]))
        x_LD = torch.cat(embedded + [numbers_LN], dim=1)  # noqa: RUF005  (TorchScript unpacks no list)
        hidden = [x_LD for _ in range(self.num_tasks + 1)]
        for level in self.levels:
            hidden = level(hidden)
        probabilities: list[Tensor] = []
        for place, tower in enumerate(self.towers):
            probabilities.append(torch.sigmoid(tower(hidden[place])))
        return torch.cat(probabilities, dim=1)


class NaiveExperts(nn.Module):
    """The experts of one owner."""

    def __init__(self, num_experts: int, input_dim: int, output_dim: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(perceptron([input_dim, output_dim]) for _ in range(num_experts))

    def forward(self, x_BD: Tensor) -> Tensor:
        """Map [B, D] to [B, E, H]."""
        return torch.stack([expert(x_BD) for expert in self.experts], dim=1)


class NaiveLevel(nn.Module):
    """One level: every task mixes its own and the shared experts; the shared output, all there are."""

    def __init__(self, input_dim: int, output_dim: int, sizes: Sizes, shared_output: bool) -> None:
        super().__init__()
        num, owners = sizes.num_experts, sizes.num_tasks + 1  # the last owner: all tasks together
        self.experts = nn.ModuleList(NaiveExperts(num, input_dim, output_dim) for _ in range(owners))
        self.gates = nn.ModuleList(nn.Linear(input_dim, 2 * num, bias=False) for _ in range(sizes.num_tasks))
        self.shared_gate = nn.Linear(input_dim, owners * num, bias=False)
        self.shared_output = shared_output

    def forward(self, hidden: list[Tensor]) -> list[Tensor]:
        """Map the tasks' inputs and the shared one, all [B, D], to those of the next level, all [B, H]."""
        groups: list[Tensor] = []
        for place, experts in enumerate(self.experts):
            groups.append(experts(hidden[place]))
        outputs: list[Tensor] = []
        for place, gate in enumerate(self.gates):
            gate_BE1 = torch.softmax(gate(hidden[place]), dim=1).unsqueeze(2)
            outputs.append((gate_BE1 * torch.cat([groups[place], groups[-1]], dim=1)).sum(dim=1))
        if self.shared_output:
            gate_BE1 = torch.softmax(self.shared_gate(hidden[-1]), dim=1).unsqueeze(2)
            outputs.append((gate_BE1 * torch.cat(groups, dim=1)).sum(dim=1))
        return outputs
