"""Optimizers of plain tables: applied during the backward pass to the rows that it reached, as fbgemm's are."""

from __future__ import annotations

import torch
from torch import Tensor

from ranker.layers.plain_tables import PlainTables
from training.config import TableOptimizer
from training.distributed import TableState

# Shapes: U = distinct rows that a backward pass reached, V = columns of a table

_EPSILON = 1e-8  # fbgemm's


class RowOptimizer:
    """Moves the rows of plain tables as soon as a backward pass has their gradients.

    `sgd` subtracts learning rate times g, the gradient summed over the places that looked the row up.
    `rowwise_adagrad` has one number per row, to which it adds the mean of g squared over the columns before it divides
    the step by its square root: exact row-wise Adagrad, the same as fbgemm's fused kernel.

    Args:
        tables: Whose rows to move.
        config: Which optimizer.
    """

    def __init__(self, tables: PlainTables, config: TableOptimizer) -> None:
        self.tables, self.learning_rate = tables, config.learning_rate
        adagrad = config.name == "rowwise_adagrad"
        self._sums = [torch.zeros(len(w), device=w.device) for w in tables.groups] if adagrad else []
        tables.move_rows = self._move

    def states(self) -> dict[str, TableState]:
        """The live tensors of the tables: `NAME` for the weights, `NAME/momentum1` for the optimizer's."""
        weights = self.tables.by_table([weight.detach() for weight in self.tables.groups])
        found = dict(weights)
        if self._sums:
            found |= {f"{name}/momentum1": sum_N for name, sum_N in self.tables.by_table(self._sums).items()}
        return {name: TableState.whole(tensor) for name, tensor in found.items()}

    @torch.no_grad()
    def _move(self, group: int, rows_U: Tensor, gradients_UV: Tensor) -> None:
        factors_U = gradients_UV.new_full((len(rows_U),), -self.learning_rate)
        if self._sums:
            sums_U = self._sums[group][rows_U] + gradients_UV.square().mean(dim=1)
            self._sums[group][rows_U] = sums_U
            factors_U /= sums_U.sqrt() + _EPSILON
        self.tables.groups[group].index_add_(0, rows_U, gradients_UV * factors_U.unsqueeze(1))
