"""Embedding tables in plain torch: no kernels but torch's own, for one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ranker.layers.row_sums import sums_by_id

# Shapes: B = rows, E = embedded features, G = features of one group, M = bags of one group, N = looked-up ids
# U = distinct ones, V = columns of a table, P = width of all pooled features

_INT32_MAX = 2**31 - 1


MoveRows = Callable[[int, Tensor, Tensor], None]


class PlainTables(nn.Module):
    """Sums of bags, like torchrec's collection, from `torch.nn.functional.embedding_bag`.

    Tables of one width form a group and lie in one tensor, so that a lookup in any number of them is a single call.
    A backward pass leaves no gradient behind: it hands those of the rows that it reached to `move_rows`.

    Args:
        num_embeddings: Rows of every table, by name.
        widths: Columns of every table, by name.
        readers: Table of each feature, in the features' order.
        device: Where the tables are made, all zero.

    Attributes:
        groups: Weights of each group, [rows of all its tables, V].
        order: Places of the features, in the order of the columns that `forward` gives: group by group.
        move_rows: Told the group, distinct rows [U] and their gradients [U, V]; must be set before a backward pass.

    Example:
        >>> tables = PlainTables({"items": 5, "cities": 3}, {"items": 4, "cities": 4}, ["items", "cities"])
        >>> tables(torch.tensor([4, 0, 1, 2, 2]), torch.tensor([[1, 2], [1, 1]])).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        num_embeddings: Mapping[str, int],
        widths: Mapping[str, int],
        readers: Sequence[str],
        device: torch.device | None = None,
    ) -> None:
        super().__init__()
        self._rows: dict[str, tuple[int, slice]] = {}  # group and rows of each table
        self._places: list[list[int]] = []  # of the features of each group
        self.groups = nn.ParameterList()
        for group, width in enumerate(sorted(set(widths.values()))):
            size = 0
            for name in (name for name in widths if widths[name] == width):
                self._rows[name] = group, slice(size, size + num_embeddings[name])
                size += num_embeddings[name]
            self._places.append([place for place, name in enumerate(readers) if widths[name] == width])
            self.groups.append(nn.Parameter(torch.zeros(size, width, device=device)))
        self.order = [place for places in self._places for place in places]
        self.move_rows: MoveRows | None = None
        starts = [self._rows[name][1].start for name in readers]
        self.starts_E = nn.Buffer(torch.tensor(starts, device=device), persistent=False)

    def forward(self, ids: Tensor, lengths_EB: Tensor) -> Tensor:
        """Sum of every bag, [B, P]; columns are those of the features in `order`.

        Args:
            ids: Table rows, feature by feature and in it row by row.
            lengths_EB: Ids of each bag.
        """
        counts_E = lengths_EB.sum(1)
        rows_N = ids + torch.repeat_interleave(self.starts_E, counts_E, output_size=len(ids))
        # Counts are asked for only where they are needed: on a GPU that waits for everything before.
        by_feature = rows_N.split(counts_E.tolist()) if len(self.groups) > 1 else ()
        pooled = []
        for group, places in enumerate(self._places):
            group_N = torch.cat([by_feature[place] for place in places]) if by_feature else rows_N
            lengths_GB = torch.stack([lengths_EB[place] for place in places]) if by_feature else lengths_EB
            weight = self.groups[group]
            sums_MV: Tensor = _Lookup.apply(weight, group_N, lengths_GB.flatten(), partial(self._reached, group))  # type: ignore[no-untyped-call]
            pooled.append(sums_MV.view(*lengths_GB.shape, weight.shape[1]).transpose(0, 1).flatten(1))
        return pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1)

    def _reached(self, group: int, rows_U: Tensor, gradients_UV: Tensor) -> None:
        assert self.move_rows is not None, "rows that a backward pass reached must be moved by someone"
        self.move_rows(group, rows_U, gradients_UV)

    def by_table(self, groups: Sequence[Tensor]) -> dict[str, Tensor]:
        """Views of what belongs to each table.

        Args:
            groups: One tensor per group, whose first dimension is that of the group's weights.
        """
        return {name: groups[group][rows] for name, (group, rows) in self._rows.items()}


class _Lookup(torch.autograd.Function):
    """Sums of bags of rows of one tensor, whose gradient is handed on by row."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, rows_N: Tensor, lengths_M: Tensor, reached: Callable[[Tensor, Tensor], None]
    ) -> Tensor:
        """Sums [M, V] of M bags."""
        ctx.save_for_backward(rows_N, lengths_M)
        ctx.num_rows, ctx.reached = len(weight), reached
        return F.embedding_bag(rows_N, weight, lengths_M.cumsum(0) - lengths_M, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_MV: Tensor) -> tuple[None, None, None, None]:
        """Hand on the gradients of the rows; the tensor as a whole gets none."""
        rows_N, lengths_M = ctx.saved_tensors
        # On a GPU to look whether every bag has one id would be to wait for everything before.
        if not rows_N.is_cuda and len(rows_N) == len(lengths_M) and bool((lengths_M == 1).all()):
            bags_N = torch.arange(len(rows_N), device=rows_N.device)
        else:
            bags_N = torch.repeat_interleave(lengths_M, output_size=len(rows_N))
        if ctx.num_rows <= _INT32_MAX:  # sorted in half the time
            rows_N = rows_N.int()
        rows_U, sums_UV = sums_by_id(rows_N, bags_N, gradient_MV.contiguous())
        ctx.reached(rows_U.long(), sums_UV)
        return None, None, None, None
