"""Gradients of looked-up rows, added up by row."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Shapes: N = looked-up ids, U = distinct ones, M = bags that looked them up, V = columns


def sums_by_id(ids_N: Tensor, bags_N: Tensor, gradients_MV: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct ids [U], ascending, and the sum of the gradients of the bags that looked each up, [U, V].

    Always added up in the order of `ids_N`, so that equal arguments give equal sums, bit by bit.

    Args:
        ids_N: Looked-up rows.
        bags_N: Which bag looked each up.
        gradients_MV: Gradient of every bag's sum.

    Example:
        >>> sums_by_id(torch.tensor([7, 2, 7]), torch.tensor([0, 0, 1]), torch.tensor([[1.0], [10.0]]))
        (tensor([2, 7]), tensor([[ 1.],
                [11.]]))
    """
    sorted_N, order_N = ids_N.sort(stable=True)
    ids_U, counts_U = torch.unique_consecutive(sorted_N, return_counts=True)
    # The transpose of a lookup is a lookup: each id pools its bags, and no [N, V] is ever made.
    starts_U = counts_U.cumsum(0) - counts_U
    return ids_U, F.embedding_bag(bags_N[order_N], gradients_MV, starts_U, mode="sum")
