"""Optimizers of plain tables: applied during the backward pass to the rows that it reached, as fbgemm's are."""

from __future__ import annotations

import torch
from torch import Tensor

from ranker.layers.plain_tables import PlainTables
from training.config import TableOptimizer
from training.distributed import TableState

# Shapes: N = rows of a group of tables, U = distinct rows that a backward pass reached, V = columns of a table

_EPSILON = 1e-8  # fbgemm's


class RowOptimizer:
    """Moves the rows of plain tables as soon as a backward pass has their gradient, and drops the gradient.

    `sgd` subtracts learning rate times g, the gradient summed over the places that looked the row up.
    `rowwise_adagrad` has one number per row, to which it adds the mean of g squared over the columns before it divides
    the step by its square root: exact row-wise Adagrad, the same as fbgemm's fused kernel.

    Args:
        tables: Whose rows to move.
        config: Which optimizer.
    """

    def __init__(self, tables: PlainTables, config: TableOptimizer) -> None:
        self.tables, self.learning_rate = tables, config.learning_rate
        self._sums: list[Tensor] = []
        for weight in tables.groups:
            sum_N = torch.zeros(len(weight), device=weight.device) if config.name == "rowwise_adagrad" else None
            if sum_N is not None:
                self._sums.append(sum_N)
            weight.register_post_accumulate_grad_hook(lambda weight, sum_N=sum_N: self._move(weight, sum_N))

    def states(self) -> dict[str, TableState]:
        """The live tensors of the tables: `NAME` for the weights, `NAME/momentum1` for the optimizer's."""
        weights = self.tables.by_table([weight.detach() for weight in self.tables.groups])
        found = dict(weights)
        if self._sums:
            found |= {f"{name}/momentum1": sum_N for name, sum_N in self.tables.by_table(self._sums).items()}
        return {name: TableState.whole(tensor) for name, tensor in found.items()}

    @torch.no_grad()
    def _move(self, weight: Tensor, sum_N: Tensor | None) -> None:
        assert weight.grad is not None
        gradient = weight.grad.coalesce()
        weight.grad = None
        rows_U, step_UV = gradient.indices()[0], gradient.values()
        if sum_N is not None:
            sum_N.index_add_(0, rows_U, step_UV.square().mean(dim=1))
            step_UV = step_UV / (sum_N[rows_U].sqrt() + _EPSILON).unsqueeze(1)
        weight.index_add_(0, rows_U, step_UV, alpha=-self.learning_rate)
