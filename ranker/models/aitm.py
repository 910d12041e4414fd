"""Adaptive Information Transfer Multi-task."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ranker.layers import MLP, Activation, Linear, Width, full_precision
from ranker.losses import Objective, OrderedObjective
from ranker.models.base import Architecture, PerTask
from ranker.models.funnel import FunnelConfig
from ranker.schema import Schema

# Shapes: B = rows, D = input width, K = width of a bottom


class AITM(Architecture):
    """A chain of networks, each told what the one before found: z_1 = f_1(x), z_t = transfer_t(z_(t-1), f_t(x)).

    Xi et al., "Modeling the Sequential Dependence among Audience Multi-step Conversions with Multi-task Learning in
    Targeted Display Advertising", KDD 2021. All steps are predicted over all impressions: the logit
    of a step is that of its probability with all steps before it, not given them. The objective, `OrderedObjective`,
    keeps it below the one of the step before.

    Note:
        Each step has projections of its own, where the authors' code has one set for all steps; for two steps, as in
        its published runs, that is the same.
    """

    class Config(FunnelConfig):
        """Options of `AITM`."""

        name: Literal["aitm"] = "aitm"
        bottom_dims: tuple[Width, ...] = Field((256, 128), min_length=1, description="Widths of each task's bottom.")
        order_weight: float = Field(
            0.6, ge=0, description="Price of a step that is said to be likelier than the one before; 0.6 as published."
        )

        def build(self, input_dim: int, task_names: tuple[str, ...]) -> AITM:
            """A new, randomly initialised network for inputs of width `input_dim`."""
            return AITM(self, input_dim, task_names)

        def objective(self, schema: Schema) -> Objective:
            """Every step over all impressions, and the price of a wrong order.

            Raises:
                ValueError: The chain's tasks are not binary and defined everywhere.
            """
            kinds = {task.name: task.kind for task in schema.tasks}
            return OrderedObjective(kinds, self.unconditional_steps(schema), self.order_weight)

    def __init__(self, config: Config, input_dim: int, task_names: tuple[str, ...]) -> None:
        super().__init__(task_names)
        chain = config.steps(task_names)
        self.chained = chain + tuple(task for task in task_names if task not in chain)
        self.shares_first = len(chain) == len(task_names)
        bottom_dims, options = config.bottom_dims, (config.activation, config.dropout)
        self.bottoms = PerTask(self.chained, lambda: MLP(input_dim, bottom_dims, *options))
        transfers = iter(
            Transfer(bottom_dims[-1], *options) if task in chain[1:] else NoTransfer() for task in self.chained
        )
        self.transfers = PerTask(self.chained, lambda: next(transfers))
        self.towers = PerTask(self.chained, lambda: config.tower(bottom_dims[-1]))

    def forward(self, x_BD: Tensor) -> dict[str, Tensor]:
        """Map [B, D] to the logits [B] of each task."""
        chained: dict[str, Tensor] = {}
        z_BK = x_BD  # the first step, having none before it, does not look at this
        for name, bottom, transfer, tower in zip(
            self.chained, self.bottoms.values(), self.transfers.values(), self.towers.values(), strict=True
        ):
            z_BK = transfer(z_BK, bottom(x_BD))
            chained[name] = tower(z_BK)
        logits: dict[str, Tensor] = {}
        for name in self.task_names:
            logits[name] = chained[name]
        return logits

    def last_shared_parameters(self) -> list[nn.Parameter]:
        """Parameters of the last layer that all tasks share: that of the first step's bottom."""
        if not self.shares_first:
            return super().last_shared_parameters()
        first = next(iter(self.bottoms.values()))
        assert isinstance(first, MLP)
        return first.last_layer()


class Transfer(nn.Module):
    """Mixes what the step before found with what this one found, by attention over the two.

    With p = g(z_(t-1)) and q = f_t(x): z_t = sum over u in {p, q} of w_u h_1(u), where w is the softmax over u of
    <h_2(u), h_3(u)> / sqrt(K), h_1 to h_3 are linear maps and g is one layer.

    Args:
        width: Width K of both.
        activation: Name of the activation of g.
        dropout: Share of what g hands on that is zeroed while training.
    """

    def __init__(self, width: int, activation: Activation = "relu", dropout: float = 0.0) -> None:
        super().__init__()
        self.width = width
        self.handed_on = MLP(width, (width,), activation, dropout)
        self.projections = Linear(width, 3 * width, bias=False)  # h_1, h_2 and h_3 side by side

    def forward(self, z_BK: Tensor, q_BK: Tensor) -> Tensor:
        """Map [B, K] of the step before and [B, K] of this one to [B, K]."""
        values_B2K, weights_B2 = self.attention(self.handed_on(z_BK), q_BK)
        return (weights_B2.unsqueeze(2) * values_B2K).sum(dim=1)

    def attention(self, p_BK: Tensor, q_BK: Tensor) -> tuple[Tensor, Tensor]:
        """h_1 of both, [B, 2, K], and their weights, [B, 2], which sum to one in every row."""
        h_B2K = self.projections(torch.stack([p_BK, q_BK], dim=1))
        values_B2K, first_B2K, second_B2K = h_B2K.chunk(3, dim=2)
        scores_B2 = (full_precision(first_B2K) * full_precision(second_B2K)).sum(dim=2) / self.width**0.5
        return values_B2K, torch.softmax(scores_B2, dim=1)


class NoTransfer(nn.Module):
    """In place of `Transfer` where there is no step before."""

    def forward(self, z_BK: Tensor, q_BK: Tensor) -> Tensor:
        """`q_BK` as it is."""
        del z_BK
        return q_BK
